//! Running a program in a container, through the API server.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess},
};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

/// Most bytes that one run may print.
const OUTPUT_BYTES: u64 = 64 << 20;
/// Bytes on the way at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// Kubernetes namespace.
    pub(crate) namespace: String,
    /// The pod.
    pub(crate) pod: String,
    /// Its container.
    pub(crate) name: String,
}

/// Outcome of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output of a run with exit code 0.
    ///
    /// # Errors
    /// Standard error.
    pub(crate) fn printed(self) -> Result<Vec<u8>, String> {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        let said = stderr.trim().trim_start_matches("error: ");
        match (code, said) {
            (0, _) => Ok(stdout),
            (code, "") => Err(format!("it ended with exit code {code}")),
            (_, said) => Err(said.to_owned()),
        }
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// Why it could not be started or followed, and that it took longer than `limit`.
pub(crate) async fn run(
    client: Client,
    container: &Container,
    command: &[String],
    limit: Duration,
) -> Result<Ran, String> {
    let run = async {
        let mut process = start(client, container, command, false).await?;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let status = process.take_status();
        let (stdout, stderr) = futures::join!(whole(stdout), whole(stderr));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        Ok(Ran {
            code: code(status.as_ref())?,
            stdout: stdout?,
            stderr: String::from_utf8_lossy(&stderr?).into_owned(),
        })
    };
    match tokio::time::timeout(limit, run).await {
        Ok(ran) => ran,
        Err(_) => Err(format!(
            "it did not answer in {}",
            crds::duration::format(limit)
        )),
    }
}

/// A process that runs until its stdin ends.
pub(crate) struct Running {
    process: AttachedProcess,
}

/// Starts `command`, and waits for the first line that it prints.
///
/// # Errors
/// As [`run`], and that it ended without a line.
pub(crate) async fn listen(
    client: Client,
    container: &Container,
    command: &[String],
    limit: Duration,
) -> Result<(String, Running), String> {
    let started = async {
        let mut process = start(client, container, command, true).await?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout() {
            let read = BufReader::new(stdout).read_line(&mut line).await;
            read.map_err(|error| error.to_string())?;
        }
        if line.is_empty() {
            let said = whole(process.stderr()).await?;
            return Err(String::from_utf8_lossy(&said).trim().to_owned());
        }
        Ok((line, Running { process }))
    };
    match tokio::time::timeout(limit, started).await {
        Ok(started) => started,
        Err(_) => Err(format!(
            "it did not answer in {}",
            crds::duration::format(limit)
        )),
    }
}

impl Running {
    /// Ends its stdin, and waits for its end for a while.
    pub(crate) async fn end(mut self) {
        if let Some(mut stdin) = self.process.stdin() {
            // Where it has ended already there is nothing to end.
            let _ = stdin.shutdown().await;
        }
        if let Some(status) = self.process.take_status() {
            let _ = tokio::time::timeout(Duration::from_secs(2), status).await;
        }
    }
}

async fn start(
    client: Client,
    container: &Container,
    command: &[String],
    has_stdin: bool,
) -> Result<AttachedProcess, String> {
    let api: Api<Pod> = Api::namespaced(client, &container.namespace);
    let parameters = AttachParams::default()
        .container(&container.name)
        .stdin(has_stdin)
        .stdout(true)
        .stderr(true)
        .max_stdout_buf_size(BUFFER_BYTES)
        .max_stderr_buf_size(BUFFER_BYTES);
    let started = api.exec(&container.pod, command, &parameters).await;
    started.map_err(|error| refused(container, &error))
}

fn refused(container: &Container, error: &kube::Error) -> String {
    let Container { namespace, pod, .. } = container;
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!(
                "may not exec into pod {namespace}/{pod}: {}",
                status.message
            )
        }
        kube::Error::Api(status) => format!("pod {namespace}/{pod}: {}", status.message),
        error => {
            let chain = console::failure::Failure::failed(error);
            format!("pod {namespace}/{pod}: {chain}")
        }
    }
}

async fn whole(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let Some(stream) = stream else {
        return Ok(bytes);
    };
    let read = stream.take(OUTPUT_BYTES).read_to_end(&mut bytes).await;
    let read = read.map_err(|error| error.to_string())?;
    match (read as u64) < OUTPUT_BYTES {
        true => Ok(bytes),
        false => Err(format!("it printed more than {} MB", OUTPUT_BYTES >> 20)),
    }
}

/// Exit code in the last message of the connection.
fn code(status: Option<&Status>) -> Result<i32, String> {
    let Some(status) = status else {
        return Err("the connection ended before the program did".to_owned());
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.find_map(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| {
        status
            .message
            .clone()
            .unwrap_or_else(|| "it could not be run".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_message_tells_the_exit_code() {
        let status = |value| serde_json::from_value::<Status>(value).unwrap();
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "exit 3",
                            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        let unable = json!({"status": "Failure", "message": "no such file"});
        assert_eq!(code(Some(&status(json!({"status": "Success"})))), Ok(0));
        assert_eq!(code(Some(&status(failed))), Ok(3));
        assert_eq!(code(Some(&status(unable))), Err("no such file".to_owned()));
        assert!(code(None).is_err());
    }

    #[test]
    fn a_run_that_failed_says_why() {
        let ran = |code, stderr: &str| Ran {
            code,
            stdout: b"x".to_vec(),
            stderr: stderr.to_owned(),
        };
        assert_eq!(ran(0, "note").printed(), Ok(b"x".to_vec()));
        assert_eq!(
            ran(1, "error: no lease\n").printed(),
            Err("no lease".to_owned())
        );
        assert_eq!(
            ran(3, "").printed(),
            Err("it ended with exit code 3".to_owned())
        );
    }
}
