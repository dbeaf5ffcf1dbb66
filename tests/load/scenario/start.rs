//! How long a server takes from the start of its process to the end of its first answer, which
//! is one to a request without a login.

use anyhow::{Context, Result};

use crate::measure::Measurement;
use crate::place::Place;
use crate::server::{Program, Setup};
use crate::statistics::median;
use crate::work::Workload;

/// Starts a program again and again, on the same data or each time on none. Each figure is the
/// median over the starts but the peak, which is the highest.
pub(crate) async fn measure(
    work: &Workload,
    program: &Program,
    place: &Place,
    again: bool,
) -> Result<Measurement> {
    let label = format!("{}-start", program.name);
    let setup = || Setup::new(program, place, &label, &work.image);
    let mut one = setup()?;
    if again {
        let mut started = one.start().await?;
        one.stop(&mut started.process).await?;
    }
    let (mut walls, mut cpus, mut peak_bytes) = (Vec::new(), Vec::new(), 0);
    for turn in 0..work.sizes.starts {
        if !again && turn > 0 {
            one = setup()?;
        }
        if let Some(disk) = place.disk() {
            disk.settle()?;
        }
        let mut started = one.start().await?;
        let usage = started.process.usage()?;
        walls.push(started.first_answer.as_secs_f64());
        cpus.push(usage.cpu_seconds()?);
        peak_bytes = usage.peak_bytes()?.max(peak_bytes);
        one.stop(&mut started.process).await?;
    }
    let middle = |values: Vec<f64>| median(values).context("it is started at least once");
    Ok(Measurement {
        wall_seconds: middle(walls)?,
        cpu_seconds: middle(cpus)?,
        peak_bytes,
        peak_is_own: true,
        ..Measurement::default()
    })
}
