//! The YAML of the definitions is that of the types: `UPDATE_GOLDEN=1` writes it anew.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// File name and content of each definition.
fn written() -> Vec<(String, String)> {
    let head = "# Generated from crds/src by `make generate`: do not edit.\n";
    let file = |definition: &_| {
        let yaml = serde_saphyr::to_string(definition).expect("a definition is YAML");
        format!("{head}{yaml}")
    };
    let definitions = crds::schema::definitions();
    let name = |definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let name = definition.metadata.name.clone().expect("a name");
        format!("{name}.yaml")
    };
    definitions.iter().map(|it| (name(it), file(it))).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".yaml")).collect()
}

#[test]
fn the_yaml_is_that_of_the_types() {
    let folder = folder("yaml");
    let written = written();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &written {
            fs::write(folder.join(name), text).expect("a file");
        }
    }
    for (name, text) in &written {
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            found == *text,
            "crds/yaml/{name} is stale: run `make generate`"
        );
    }
    assert_eq!(
        names(&folder),
        written.into_iter().map(|(name, _)| name).collect()
    );
}

#[test]
fn the_chart_carries_the_same_yaml() {
    let charts = folder("../charts/beemesh/crds");
    let is_update = env::var_os("UPDATE_GOLDEN").is_some();
    for (name, text) in written() {
        let copy = charts.join(&name);
        if is_update {
            fs::create_dir_all(&charts).expect("a folder");
            fs::write(&copy, &text).expect("a file");
        }
        let found = fs::read_to_string(&copy).unwrap_or_default();
        assert!(
            found == text,
            "charts/beemesh/crds/{name} is stale: run `make generate`"
        );
    }
    let ours = written().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names(&charts), ours);
}

#[test]
fn every_field_is_explained() {
    for definition in crds::schema::definitions() {
        let document = serde_json::to_value(&definition).expect("JSON");
        let schema = &document["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            let part_schema = &schema["properties"][part];
            if !part_schema.is_null() {
                check(part, part_schema);
            }
        }
    }
}

fn check(path: &str, schema: &serde_json::Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(
            field["description"].is_string(),
            "{path} has no description"
        );
        let format = field["format"].as_str().unwrap_or_default();
        assert!(
            !format.starts_with("uint"),
            "{path} has a format that OpenAPI does not know"
        );
        check(&path, field);
        check(&path, &field["items"]);
        check(&path, &field["additionalProperties"]);
    }
}
