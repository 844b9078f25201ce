//! Logs: one line an event, text or JSON, at a level that can be changed while running.

use std::io::{self, Write};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    reload,
};

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The level of the logs, to be read and changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Error of the log settings.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither a level nor `TARGET=LEVEL`, separated by commas.
    #[error("expected off, error, warn, info, debug, trace or TARGET=LEVEL, found {0:?}")]
    Level(String),
    /// A logger is installed already, or was dropped.
    #[error("failed to set up logs: {0}")]
    Install(String),
}

impl Logs {
    /// Logs of the whole program, to stderr.
    ///
    /// # Errors
    /// A level that is none; logs that are set up already.
    pub fn install(format: LogFormat, level: &str) -> Result<Logs, LogError> {
        let (subscriber, logs) = Logs::subscriber(format, level, io::stderr)?;
        let install = tracing::subscriber::set_global_default(subscriber);
        install.map_err(|error| LogError::Install(error.to_string()))?;
        Ok(logs)
    }

    /// Logs that are written to `writer`, for the caller to put in place.
    ///
    /// # Errors
    /// A level that is none.
    pub fn subscriber<W>(
        format: LogFormat,
        level: &str,
        writer: W,
    ) -> Result<(impl Subscriber + Send + Sync + use<W>, Logs), LogError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let (filter, handle) = reload::Layer::new(parse(level)?);
        let events = fmt::layer().with_writer(OneLine(writer)).with_ansi(false);
        let events = match format {
            LogFormat::Text => events.boxed(),
            LogFormat::Json => {
                let json = events.json().flatten_event(true).with_span_list(false);
                json.boxed()
            }
        };
        let subscriber = tracing_subscriber::registry().with(filter).with(events);
        Ok((subscriber, Logs { filter: handle }))
    }

    /// The level now.
    pub fn level(&self) -> String {
        let level = self.filter.with_current(ToString::to_string);
        level.unwrap_or_default()
    }

    /// Changes the level, and returns the new one.
    ///
    /// # Errors
    /// A level that is none; then nothing has changed.
    pub fn set_level(&self, level: &str) -> Result<String, LogError> {
        let filter = parse(level)?;
        let set = self.filter.reload(filter);
        set.map_err(|error| LogError::Install(error.to_string()))?;
        Ok(self.level())
    }
}

/// A level, or levels of modules; a misspelled level is not taken for the name of a module.
fn parse(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::Level(level.to_owned());
    let is_known = |directive: &str| {
        directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
    };
    if level.trim().is_empty() || !level.split(',').all(is_known) {
        return Err(wrong());
    }
    EnvFilter::try_new(level).map_err(|_| wrong())
}

/// Writes each event, which comes as one buffer, as one line.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }
}

struct OneLineWriter<W>(W);

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, &b"\n"[..]),
            _ => (event, &b""[..]),
        };
        if line.contains(&b'\n') {
            let parts: Vec<&[u8]> = line.split(|byte| *byte == b'\n').collect();
            self.0.write_all(&parts.join(&b"\\n"[..]))?;
        } else {
            self.0.write_all(line)?;
        }
        self.0.write_all(end)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            let bytes = self.0.lock().expect("no panic").clone();
            String::from_utf8(bytes).expect("logs are UTF-8")
        }
    }

    fn logged(format: LogFormat, work: impl FnOnce(&Logs)) -> String {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, logs) =
            Logs::subscriber(format, "info", move || writer.clone()).expect("a level");
        tracing::subscriber::with_default(subscriber, || work(&logs));
        page.text()
    }

    #[test]
    fn an_event_is_one_line_even_where_its_text_is_not() {
        let text = logged(LogFormat::Text, |_| tracing::info!("one\ntwo"));
        assert!(text.ends_with("one\\ntwo\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_names_the_span_and_its_trace() {
        let text = logged(LogFormat::Json, |_| {
            let span = tracing::error_span!("reconcile", object = "ns/iot", trace_id = "0af7");
            span.in_scope(|| tracing::info!(count = 3, "done"));
        });
        let event: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(event["message"], "done");
        assert_eq!(event["count"], 3);
        assert_eq!(event["span"]["trace_id"], "0af7");
        assert_eq!(event["span"]["object"], "ns/iot");
    }

    #[test]
    fn the_level_changes_while_running() {
        let text = logged(LogFormat::Text, |logs| {
            tracing::debug!("before");
            assert_eq!(logs.set_level("debug").expect("a level"), "debug");
            tracing::debug!("between");
            logs.set_level("warn,elsewhere=debug").expect("levels");
            tracing::info!("after");
            assert!(logs.set_level("inof").is_err(), "no module has this name");
            assert_eq!(logs.level(), "elsewhere=debug,warn");
        });
        let seen: Vec<bool> = ["before", "between", "after"]
            .map(|word| text.contains(word))
            .to_vec();
        assert_eq!(seen, [false, true, false], "{text}");
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for level in ["", "inof", "info,loud", "operator=loud", "=,="] {
            assert!(parse(level).is_err(), "{level:?}");
        }
        for level in ["off", "INFO", "info,operator=debug", "operator::plan=trace"] {
            assert!(parse(level).is_ok(), "{level:?}");
        }
    }
}
