//! The older text format of Prometheus, which every collector reads, made from `OpenMetrics`.

use std::fmt::Write as _;

/// `OpenMetrics` names a family without its suffix and ends with a mark; the older format names
/// each by its samples, and knows no `info`.
pub(super) fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else {
                continue;
            };
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, words)) = help.take_if(|(of, _)| *of == name) {
                push(&mut text, format_args!("# HELP {name}{suffix} {words}"));
            }
            push(&mut text, format_args!("# TYPE {name}{suffix} {kind}"));
        } else if !line.starts_with('#') {
            push(&mut text, format_args!("{line}"));
        }
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{line}");
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_by_their_samples() {
        let open_metrics = "# HELP a_build The version.\n\
                            # TYPE a_build info\n\
                            a_build_info{version=\"1\"} 1\n\
                            # HELP a_errors Errors.\n\
                            # TYPE a_errors counter\n\
                            a_errors_total{kind=\"x\"} 3\n\
                            # HELP a_bytes Bytes.\n\
                            # TYPE a_bytes gauge\n\
                            # UNIT a_bytes bytes\n\
                            a_bytes 7\n\
                            # EOF\n";
        assert_eq!(
            classic(open_metrics),
            "# HELP a_build_info The version.\n\
             # TYPE a_build_info gauge\n\
             a_build_info{version=\"1\"} 1\n\
             # HELP a_errors_total Errors.\n\
             # TYPE a_errors_total counter\n\
             a_errors_total{kind=\"x\"} 3\n\
             # HELP a_bytes Bytes.\n\
             # TYPE a_bytes gauge\n\
             a_bytes 7\n"
        );
    }
}
