//! The figures beside the goals of the design, as Markdown.

use std::fmt::Write;

use crate::book::Figure;

/// All columns.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut text = "| what | p2pd | behind gRPC | p2pd of that | raw | goal | others |\n".to_owned();
    text += "|---|--:|--:|--:|--:|---|--:|\n";
    for Figure { spec, p2pd, grpc, raw, others_percent } in figures {
        let shown = |value: &Option<f64>| value.map(|value| spec.unit.render(value)).unwrap_or_default();
        let others = others_percent.map(|share| format!("{share:.0} %")).unwrap_or_default();
        let (p2pd_shown, grpc_shown, raw_shown) = (shown(p2pd), shown(grpc), shown(raw));
        let (what, goal, ratio) = (&spec.what, &spec.goal, ratio_text(*p2pd, *grpc));
        let row = format!("| {what} | {p2pd_shown} | {grpc_shown} | {ratio} | {raw_shown} | {goal} | {others} |");
        writeln!(text, "{row}").expect("a text takes everything");
    }
    text
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
        let text = render(&example_figures());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "| what flood_64_rate is | 100,000/s | 200,000/s | ×0.50 | 400,000/s | 1 & <2> | 2 % |");
        assert_eq!(lines[4], "| what idle_cpu is | 0.020 % |  |  |  | 1 & <2> | 2 % |");
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(ratio_text(Some(1.0), Some(0.0)), "");
        assert_eq!(ratio_text(None, Some(1.0)), "");
        assert_eq!(ratio_text(Some(1.12), Some(1.0)), "×1.12");
    }
}
