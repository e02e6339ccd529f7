//! The `millpond` command: reads the command line and hands over to [`serve`].

mod allocator;
mod pgwire;
mod serve;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A WebAssembly-pluggable streaming database that speaks Postgres.
#[derive(Debug, Parser)]
#[command(name = "millpond", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server in the foreground until SIGTERM or SIGINT.
    Serve(ServeOptions),
}

/// Where the server keeps its data and where it listens.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// Directory of the database; created if it is not there.
    #[arg(long, default_value = "./millpond-data")]
    pub data_dir: PathBuf,
    /// Address of the Postgres door; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:7432")]
    pub pg_listen: SocketAddr,
    /// Seconds between two checkpoints of views and tables that changed; fewer make restarts faster and write more.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = interval)]
    pub checkpoint_interval: Duration,
}

/// Seconds, more than none.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|interval| !interval.is_zero()).ok_or_else(|| "it is a number of seconds greater than 0".into())
}

fn main() -> ExitCode {
    allocator::tune();
    let Command::Serve(options) = CommandLine::parse().command;
    start_logging();
    match serve::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millpond: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr, so that stdout has nothing but the banner.
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::database::DatabaseOptions;

    fn checkpoint_interval(arguments: &[&str]) -> Result<Duration, clap::Error> {
        let given = ["millpond", "serve"].iter().chain(arguments);
        let Command::Serve(options) = CommandLine::try_parse_from(given)?.command;
        Ok(options.checkpoint_interval)
    }

    #[test]
    fn a_checkpoint_interval_is_some_seconds() {
        assert_eq!(checkpoint_interval(&[]).unwrap(), DatabaseOptions::default().checkpoint_interval);
        assert_eq!(checkpoint_interval(&["--checkpoint-interval", "0.25"]).unwrap(), Duration::from_millis(250));
        for refused in ["0", "-1", "soon", "inf", "nan", "1e300", ""] {
            assert!(checkpoint_interval(&["--checkpoint-interval", refused]).is_err(), "{refused}");
        }
    }
}
