//! The versions of the CNI specification that we speak.

/// A version of the specification, older before newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.3.1: addresses carry `version`; no CHECK.
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` for DEL.
    V0_4_0,
    /// 1.0.0: addresses carry no `version` any more.
    V1_0_0,
    /// 1.1.0: GC, STATUS; interfaces carry `mtu`.
    V1_1_0,
}

impl Version {
    /// Supported versions, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// Version of the answer when the runtime's version is unknown.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version of exactly this name; none for any that we do not speak.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// As in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// As the `cni-plugin` crate wants it.
    pub(crate) fn semver(self) -> semver::Version {
        let (major, minor, patch) = match self {
            Self::V0_3_1 => (0, 3, 1),
            Self::V0_4_0 => (0, 4, 0),
            Self::V1_0_0 => (1, 0, 0),
            Self::V1_1_0 => (1, 1, 0),
        };
        semver::Version::new(major, minor, patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_names_and_no_others() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
            assert_eq!(version.semver().to_string(), version.as_str());
        }
        for other in [
            "",
            "0.2.0",
            "1.2.0",
            "1.1",
            "v1.1.0",
            "1.1.0 ",
            "01.1.0",
            "999999999999",
        ] {
            assert_eq!(Version::parse(other), None, "{other}");
        }
    }
}
