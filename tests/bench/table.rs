//! The figures beside the goals of the design, as Markdown.

use std::fmt::Write;

use crate::book::Figure;

/// All columns. `last` are the figures of an earlier measuring, to be compared with.
pub(crate) fn render(figures: &[Figure], last: Option<&[Figure]>) -> String {
    let (last_title, last_line) = if last.is_some() { (" of last |", "--:|") } else { ("", "") };
    let mut text = format!("| what | p2pd |{last_title} behind gRPC | p2pd of that | raw | goal | others |\n");
    text += &format!("|---|--:|{last_line}--:|--:|--:|---|--:|\n");
    for figure in figures {
        let Figure { spec, p2pd, grpc, raw, others_percent } = figure;
        let shown = |value: &Option<f64>| value.map(|value| spec.unit.render(value)).unwrap_or_default();
        let last = last.map_or(String::new(), |last| format!(" {} |", ratio_text(*p2pd, value_of(last, &spec.key))));
        let others = others_percent.map(|share| format!("{share:.0} %")).unwrap_or_default();
        let (p2pd_shown, grpc_shown, raw_shown, ratio) =
            (shown(p2pd), shown(grpc), shown(raw), ratio_text(*p2pd, *grpc));
        let (what, goal) = (&spec.what, &spec.goal);
        let row = format!("| {what} | {p2pd_shown} |{last} {grpc_shown} | {ratio} | {raw_shown} | {goal} | {others} |");
        writeln!(text, "{row}").expect("a text takes everything");
    }
    text
}

/// The columns for those who want to know how fast it is.
pub(crate) fn render_short(figures: &[Figure]) -> String {
    let mut text = "| | p2pd | a mesh that only carries | p2pd of that |\n|---|--:|--:|--:|\n".to_owned();
    for Figure { spec, p2pd, grpc, .. } in figures {
        let shown = |value: &Option<f64>| value.map(|value| spec.unit.render(value)).unwrap_or_default();
        let (what, ratio) = (&spec.what, ratio_text(*p2pd, *grpc));
        writeln!(text, "| {what} | {} | {} | {ratio} |", shown(p2pd), shown(grpc)).expect("a text takes everything");
    }
    text
}

fn value_of(figures: &[Figure], key: &str) -> Option<f64> {
    figures.iter().find(|figure| figure.spec.key == key)?.p2pd
}

/// `×1.12`, where there is something to compare with.
fn ratio_text(value: Option<f64>, other: Option<f64>) -> String {
    match (value, other) {
        (Some(value), Some(other)) if other > 0.0 => format!("×{:.2}", value / other),
        (Some(_) | None, Some(_) | None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::example_figures;

    #[test]
    fn figures_stand_beside_their_goals_and_what_they_are_compared_with() {
        let figures = example_figures();
        let mut last = figures[..1].to_vec();
        last[0].p2pd = Some(80_000.0);
        let text = render(&figures, Some(&last));
        let lines: Vec<&str> = text.lines().collect();
        let row = "| what flood_64_rate is | 100,000/s | ×1.25 | 200,000/s | ×0.50 | 400,000/s | 1 & <2> | 2 % |";
        assert_eq!(lines[2], row);
        assert_eq!(lines[4], "| what idle_cpu is | 0.020 % |  |  |  |  | 1 & <2> | 2 % |");
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == 9), "{text}");
        assert!(render(&figures, None).lines().all(|line| columns(line) == 8));
        assert!(render_short(&figures).lines().all(|line| columns(line) == 5));
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(ratio_text(Some(1.0), Some(0.0)), "");
        assert_eq!(ratio_text(None, Some(1.0)), "");
        assert_eq!(ratio_text(Some(1.12), Some(1.0)), "×1.12");
    }
}
