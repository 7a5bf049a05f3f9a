//! The figures as curves against the number of peers, readable on light and on dark pages.

use crate::figures::Figures;

/// Curves on one scale.
struct Panel {
    title: &'static str,
    unit: &'static str,
    curves: &'static [Curve],
}

/// How one figure is drawn.
struct Curve {
    class: &'static str,
    name: &'static str,
    value: fn(&Figures) -> f64,
}

/// As SVG.
pub(crate) fn render(rows: &[(usize, &Figures)]) -> String {
    let panels: String = PANELS.iter().enumerate().map(|(at, panel)| draw(panel, at, rows)).collect();
    let (width, height) = (2 * PANEL_WIDTH, PANELS.len().div_ceil(2) * PANEL_HEIGHT);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"What a mesh costs against its number of peers\">\n<style>{STYLE}</style>\n{panels}</svg>\n"
    )
}

fn draw(panel: &Panel, at: usize, rows: &[(usize, &Figures)]) -> String {
    let (left, top) = (at % 2 * PANEL_WIDTH, at / 2 * PANEL_HEIGHT);
    let peers_most = rows.iter().map(|(peers, _)| *peers).max().unwrap_or(1) as f64;
    let values = panel.curves.iter().flat_map(|curve| rows.iter().map(|(_, figures)| (curve.value)(figures)));
    let most = round_up(values.fold(0.0, f64::max));
    let mut out = format!("<g transform=\"translate({left} {top})\">\n");
    out += &format!("<text class=\"title\" x=\"{LEFT}\" y=\"22\">{}, {}</text>\n", panel.title, panel.unit);
    out += &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\n");
    out += &format!("<text class=\"end\" x=\"{}\" y=\"{}\">{most}</text>", LEFT - 6.0, TOP + 4.0);
    out += &format!("<text class=\"end\" x=\"{}\" y=\"{}\">0</text>\n", LEFT - 6.0, BOTTOM + 4.0);
    let place = |peers: usize, value: f64| {
        (LEFT + (RIGHT - LEFT) * peers as f64 / peers_most, BOTTOM - (BOTTOM - TOP) * value / most)
    };
    for (peers, _) in rows {
        out += &format!(
            "<text class=\"middle\" x=\"{:.1}\" y=\"{}\">{peers}</text>\n",
            place(*peers, 0.0).0,
            BOTTOM + 18.0
        );
    }
    for (at, curve) in panel.curves.iter().enumerate() {
        let points: Vec<_> = rows.iter().map(|(peers, figures)| place(*peers, (curve.value)(figures))).collect();
        out += &draw_curve(curve, &points);
        let y = TOP + 8.0 + 16.0 * at as f64;
        out += &format!("<text class=\"{}\" x=\"{}\" y=\"{y}\">{}</text>\n", curve.class, LEFT + 12.0, curve.name);
    }
    out + "</g>\n"
}

fn draw_curve(curve: &Curve, points: &[(f64, f64)]) -> String {
    let class = curve.class;
    let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dots = points.iter().map(|(x, y)| format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"));
    format!("<polyline class=\"{class}\" points=\"{}\"/>{}\n", line.join(" "), dots.collect::<String>())
}

/// To one digit that is 1, 2 or 5 and zeros behind it.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|round| *round >= value).unwrap_or(value)
}

const PANELS: &[Panel] = &[
    Panel {
        title: "Time",
        unit: "s",
        curves: &[
            Curve { class: "a", name: "until all are linked", value: |figures| figures.formed.as_secs_f64() },
            Curve {
                class: "b",
                name: "until a fifth, killed, has all again",
                value: |figures| figures.healed.as_secs_f64(),
            },
            Curve {
                class: "c",
                name: "until a word from all is everywhere",
                value: |figures| figures.first.everywhere.as_secs_f64(),
            },
        ],
    },
    Panel {
        title: "Memory of a daemon",
        unit: "MiB",
        curves: &[
            Curve { class: "a", name: "mean", value: |figures| figures.resident_kib.mean / 1_024.0 },
            Curve { class: "b", name: "most", value: |figures| figures.resident_kib.most as f64 / 1_024.0 },
        ],
    },
    Panel {
        title: "CPU of an idle daemon",
        unit: "µs a second",
        curves: &[
            Curve { class: "a", name: "in all", value: |figures| figures.processor_share * 1e6 },
            Curve {
                class: "b",
                name: "a link",
                value: |figures| figures.processor_share * 1e6 / figures.links.mean.max(1.0),
            },
        ],
    },
    Panel {
        title: "Traffic of an idle daemon",
        unit: "bytes a second",
        curves: &[
            Curve { class: "a", name: "in all", value: |figures| figures.bytes_a_second },
            Curve { class: "b", name: "a link, both ways", value: Figures::bytes_a_link },
        ],
    },
];
/// Grey texts and colours of middle lightness stand out from white and from black.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-size:13px;font-weight:600}.end{text-anchor:end}\
.middle{text-anchor:middle}.axis{fill:none;stroke:#8b949e}polyline{fill:none;stroke-width:2}\
polyline.a{stroke:#2f81f7}polyline.b{stroke:#a371f7}polyline.c{stroke:#d29922}\
circle.a,text.a{fill:#2f81f7}circle.b,text.b{fill:#a371f7}circle.c,text.c{fill:#d29922}\
@media(prefers-color-scheme:dark){text{fill:#9da7b1}}";
const PANEL_WIDTH: usize = 400;
const PANEL_HEIGHT: usize = 240;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 380.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 206.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::figures::{Round, Spread};

    #[test]
    fn scales_end_at_round_numbers() {
        let rounded = [0.0, 0.03, 1.0, 1.1, 2.1, 5.1, 420.0].map(|value| format!("{:.2}", round_up(value)));
        assert_eq!(rounded, ["1.00", "0.05", "1.00", "2.00", "5.00", "10.00", "500.00"]);
    }

    #[test]
    fn each_curve_has_a_point_for_each_mesh_and_stays_on_its_panel() {
        let figures = Figures {
            formed: Duration::from_secs(2),
            first: Round::default(),
            second: Round::default(),
            healed: Duration::from_secs(1),
            links: Spread::of([4]),
            resident_kib: Spread::of([10_240]),
            processor_share: 0.001,
            bytes_a_second: 100.0,
            others: 0.0,
        };
        let text = render(&[(5, &figures), (10, &figures)]);
        let curves: usize = PANELS.iter().map(|panel| panel.curves.len()).sum();
        assert_eq!((text.matches("<polyline").count(), text.matches("<circle").count()), (curves, 2 * curves));
        assert_eq!(text.matches("<g ").count(), text.matches("</g>").count());
        // The highest of the first panel is two of two seconds.
        assert!(text.contains("points=\"218.0,40.0 380.0,40.0\""), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(!render(&[]).contains("NaN"));
    }
}
