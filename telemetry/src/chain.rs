//! Error chains as text.

use std::{error::Error, iter};

/// `error` and its causes in one line, joined by `: `. A cause that the text has already is left out: some errors
/// print their source themselves.
pub fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |error| (**error).source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        match text.contains(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Failure>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn Error)
        }
    }

    #[test]
    fn each_cause_is_named_once() {
        let root = Failure("refused", None);
        let middle = Failure("failed to connect", Some(Box::new(root)));
        let top = Failure("no list: failed to connect", Some(Box::new(middle)));
        assert_eq!(chain(&top), "no list: failed to connect: refused");
    }
}
