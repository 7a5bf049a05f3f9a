//! The main figures as a picture: bars of p2pd and the yardsticks, readable on light and on dark pages.

use crate::book::Figure;
use crate::record::Record;

/// A group of bars on one scale.
struct Chart {
    title: &'static str,
    /// Keys of the figures, and what they are called here.
    rows: &'static [(&'static str, &'static str)],
}

/// As SVG.
pub(crate) fn render(record: &Record) -> String {
    let mut body = legend();
    let mut y = TOP;
    for chart in CHARTS {
        y = draw_chart(chart, record, y, &mut body);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-label=\"Rates and latencies of p2pd and of meshes that only carry\">\n<style>{STYLE}</style>\n{body}\
         <text class=\"small\" x=\"{LEFT}\" y=\"{}\">{}</text>\n</svg>\n",
        y - 8,
        escape(&format!("{}, {}, {} cores", record.date, record.machine.cpu, record.machine.cores)),
    )
}

fn legend() -> String {
    let mut text = String::new();
    for (at, (class, name)) in SYSTEMS.iter().enumerate() {
        let x = LEFT + at * 190;
        text += &format!("<rect class=\"{class}\" x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" rx=\"2\"/>");
        text += &format!("<text x=\"{}\" y=\"24\">{name}</text>\n", x + 18);
    }
    text
}

/// Draws from `y` on; where the next one begins.
fn draw_chart(chart: &Chart, record: &Record, mut y: usize, out: &mut String) -> usize {
    let rows: Vec<(&str, &Figure)> =
        chart.rows.iter().filter_map(|(key, name)| Some((*name, record.find(key)?))).collect();
    // Raw rates are many times all others, which would be dots beside them: bars that are too long are cut.
    let scaled = rows.iter().flat_map(|(_, figure)| [figure.p2pd, figure.grpc]);
    let most = scaled.flatten().fold(f64::MIN_POSITIVE, f64::max);
    *out += &format!("<text class=\"title\" x=\"{LEFT}\" y=\"{}\">{}</text>\n", y + 14, escape(chart.title));
    y += 26;
    for (name, figure) in rows {
        *out += &format!("<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n", LEFT - 10, y + 22, escape(name));
        for (value, (class, _)) in values(figure).into_iter().zip(SYSTEMS) {
            if let Some(value) = value {
                draw_bar(class, value / most, &figure.spec.unit.render(value), y, out);
                y += BAR_STEP;
            }
        }
        y += 10;
    }
    y + 14
}

fn draw_bar(class: &str, share: f64, label: &str, y: usize, out: &mut String) {
    let width = (share.min(1.0) * BAR_WIDTH_MAX).max(1.0);
    let label = if share > 1.0 { format!("» {label}") } else { label.to_owned() };
    *out += &format!("<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"11\" rx=\"2\"/>");
    let x = LEFT as f64 + width + 6.0;
    *out += &format!("<text class=\"small\" x=\"{x:.1}\" y=\"{}\">{}</text>\n", y + 10, escape(&label));
}

/// In the order of `SYSTEMS`.
fn values(figure: &Figure) -> [Option<f64>; 3] {
    [figure.p2pd, figure.grpc, figure.raw]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const CHARTS: &[Chart] = &[
    Chart {
        title: "Lossless rates (longer is better)",
        rows: &[("flood_64_rate", "one sender, 64 B"), ("flood_1024_rate", "one sender, 1 KiB")],
    },
    Chart { title: "Deliveries (longer is better)", rows: &[("six_64_rate", "six senders, 64 B")] },
    Chart {
        title: "From program to program (shorter is better)",
        rows: &[
            ("calm_100_64_p50", "100/s, median"),
            ("calm_100_64_p99", "100/s, 99 of 100"),
            ("calm_1000_64_p50", "1,000/s, median"),
            ("calm_1000_64_p99", "1,000/s, 99 of 100"),
        ],
    },
];
/// Classes of the style, and their names.
const SYSTEMS: [(&str, &str); 3] =
    [("p2pd", "p2pd"), ("grpc", "only carries, behind gRPC"), ("raw", "only carries, in process")];
/// Grey texts and colours of middle lightness stand out from white and from black.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}.small{font-size:11px}.name{text-anchor:end}\
.p2pd{fill:#2f81f7}.grpc{fill:#a371f7}.raw{fill:#8b949e}\
@media(prefers-color-scheme:dark){text{fill:#9da7b1}}";
const WIDTH: usize = 760;
const TOP: usize = 44;
/// Where the bars begin.
const LEFT: usize = 150;
const BAR_WIDTH_MAX: f64 = 500.0;
const BAR_STEP: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    /// The texts between tags; every tag is closed in its turn.
    fn texts(svg: &str) -> Vec<String> {
        let (mut open, mut texts) = (Vec::new(), Vec::new());
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag ends");
            assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
            match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
                (Some(name), _) => assert_eq!(open.pop(), Some(name)),
                (None, Some(_)) => (),
                (None, None) => open.push(tag.split(' ').next().unwrap()),
            }
            assert!(!text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").contains('&'), "{text}");
            texts.push(text.trim().to_owned());
        }
        assert!(open.is_empty(), "{open:?}");
        texts
    }

    #[test]
    fn a_picture_is_well_formed_and_shows_every_value() {
        let texts = texts(&render(&example()));
        for shown in ["100,000/s", "200,000/s", "» 400,000/s", "1.00 ms", "0.50 ms", "0.25 ms"] {
            assert!(texts.iter().any(|text| text == shown), "{shown} is not in {texts:?}");
        }
        assert!(texts.iter().any(|text| text.contains("A &amp; &lt;B&gt;")));
    }

    #[test]
    fn bars_are_as_long_as_their_values_and_cut_where_those_are_too_great() {
        let svg = render(&example());
        assert_eq!(svg.matches("width=\"500.0\"").count(), 3, "a rate, one that is cut, and a latency");
        assert_eq!(svg.matches("width=\"250.0\"").count(), 2, "half of each");
        assert_eq!(svg.matches("width=\"125.0\"").count(), 1, "a quarter of the latency");
    }

    #[test]
    fn a_record_without_figures_is_a_picture_too() {
        let none = Record { figures: Vec::new(), ..example() };
        assert!(texts(&render(&none)).contains(&"p2pd".to_owned()));
    }
}
