//! Longest gap of traffic when a link of a diamond fails, beside FRR in the same shape.

use anyhow::Result;

use crate::harness::{
    bench::{Bench, Context},
    figure::{Better, Figure},
    sample::{Samples, ms},
};

mod diamond;
mod fault;
mod frr;
mod ours;
mod record;
mod round;
mod traffic;

use diamond::{Diamond, Kind, Position};
use fault::Fault;
use frr::Protocol;
use round::Outcome;

pub(crate) use fault::End;
pub(crate) use ours::end as lab_end;

const ROUNDS: usize = 20;

/// Intervals of BFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    /// Time between two packets in ms.
    pub(crate) interval_ms: u32,
    /// Number of lost packets after which a link is down.
    pub(crate) multiplier: u32,
}

/// Work that all sides do.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    kind: Kind,
    fault: Fault,
    position: Position,
    liveness: Liveness,
}

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let faults = [
        (Fault::Carrier, 100),
        (Fault::Silent, 10),
        (Fault::Silent, 50),
    ];
    let mut benches = vec![];
    for kind in [Kind::Veth, Kind::Vxlan] {
        for position in [Position::Near, Position::Far] {
            for (fault, interval_ms) in faults {
                let liveness = Liveness {
                    interval_ms,
                    multiplier: 3,
                };
                let scenario = Scenario {
                    kind,
                    fault,
                    position,
                    liveness,
                };
                benches.push(scenario.bench());
            }
        }
    }
    benches
}

impl Scenario {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Veth => "veth",
            Kind::Vxlan => "vxlan",
        };
        let fault = match self.fault {
            Fault::Carrier => "carrier".to_owned(),
            Fault::Silent => format!("silent-{}ms", self.liveness.interval_ms),
        };
        let position = match self.position {
            Position::Near => "",
            Position::Far => "-far",
        };
        format!("failover-{kind}-{fault}{position}")
    }

    fn bench(self) -> Bench {
        let name = self.name();
        let names = ["", "-p99", "-ospf", "-healing"].map(|part| format!("{name}{part}"));
        Bench::new(names, move |context| self.measure(context))
    }

    fn measure(self, context: &Context) -> Result<Vec<Figure>> {
        // Without a cut that only BFD can see, programs that have no BFD take part as well.
        let wanted = Some(&self.liveness).filter(|_| self.fault == Fault::Silent);
        let peer = |protocol| frr::diamond(context, self.kind, protocol, &self.liveness);
        let sides = [
            ours::diamond(context, self.kind, wanted)?,
            peer(Protocol::Bgp)?,
            peer(Protocol::Ospf)?,
        ];
        let mut outcomes = sides.each_ref().map(|_| vec![]);
        // In turn, and each first in every third round; the first round warms up.
        for number in 0..=context.rounds(ROUNDS) {
            for turn in 0..sides.len() {
                let side = (number + turn) % sides.len();
                let outcome = round::round(&sides[side], self.fault, self.position)?;
                if number > 0 {
                    outcomes[side].push(outcome);
                }
            }
        }
        Ok(self.figures(&sides, &outcomes.map(Summary::new)))
    }

    fn figures(&self, sides: &[Diamond; 3], summaries: &[Summary; 3]) -> Vec<Figure> {
        let name = self.name();
        let [ours, bgp, ospf] = summaries;
        let gap = |of: &Summary| ms(of.gaps.median());
        let p99 = |of: &Summary| ms(of.gaps.quantile(0.99));
        let figure = |part: &str, value, unit| Figure::alone(&format!("{name}{part}"), value, unit);
        vec![
            figure("", gap(ours), "ms")
                .beside(sides[1].name, gap(bgp), Better::Lower)
                .note(format!(
                    "median of the worst gaps; {}; peer: {}",
                    ours.note(),
                    bgp.note()
                )),
            figure("-p99", p99(ours), "ms")
                .beside(sides[1].name, p99(bgp), Better::Lower)
                .note(format!("p99 of {} rounds", ours.gaps.count())),
            figure("-ospf", gap(ours), "ms")
                .beside(sides[2].name, gap(ospf), Better::Lower)
                .note(format!("as {name}; peer: {}", ospf.note())),
            figure("-healing", ours.healing as f64, "packets")
                .beside(sides[1].name, bgp.healing as f64, Better::Lower)
                .note(format!(
                    "lost on all repairs; {}: {}",
                    sides[2].name, ospf.healing
                )),
        ]
    }
}

/// All rounds of one side.
struct Summary {
    gaps: Samples,
    lost: Vec<usize>,
    sender_gap: f64,
    healing: usize,
}

impl Summary {
    fn new(outcomes: Vec<Outcome>) -> Self {
        let mut lost: Vec<usize> = outcomes.iter().map(|it| it.cut.lost).collect();
        lost.sort_unstable();
        let late = outcomes.iter().map(|it| it.cut.sender_gap).max();
        Self {
            gaps: Samples::new(outcomes.iter().map(|it| it.cut.gap).collect()),
            lost,
            sender_gap: ms(late.unwrap_or_default()),
            healing: outcomes.iter().map(|it| it.healing.lost).sum(),
        }
    }

    fn note(&self) -> String {
        format!(
            "worst {:.1} ms, {} packets lost (median), sender at most {:.1} ms apart",
            ms(self.gaps.longest()),
            self.lost[self.lost.len() / 2],
            self.sender_gap
        )
    }
}
