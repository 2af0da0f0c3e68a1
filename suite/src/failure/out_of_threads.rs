//! Threads that the operating system refuses: recognises the panics of libraries and gives advice.

/// The message about what the operating system said.
pub fn message(cause: &str) -> String {
    format!(
        "no further thread can be started: {cause}\n\
         hint: raise the limit on processes (`ulimit -u`, or that of the container), or use fewer with --threads"
    )
}

/// What the operating system said, in the message of a panic that a refused thread causes.
pub fn cause_in_panic(panic: &str) -> Option<&str> {
    let is_of_threads = panic.contains("failed to spawn thread") || panic.contains("thread pool");
    let is_refused = panic.contains("kind: WouldBlock");
    let said = panic.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    (is_of_threads && is_refused).then(|| said.map_or("the limit is reached", |(said, _)| said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_threads_are_found_in_panics() {
        let error = "Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }";
        for panic in [
            format!("failed to spawn thread: {error}"),
            format!(
                "The global thread pool has not been initialized.: ThreadPoolBuildError {{ kind: IOError({error}) }}"
            ),
        ] {
            assert_eq!(cause_in_panic(&panic), Some("Resource temporarily unavailable"), "{panic}");
        }
        assert_eq!(cause_in_panic(&format!("cannot read: {error}")), None);
        assert_eq!(cause_in_panic("index out of bounds: the len is 3 but the index is 7"), None);
    }
}
