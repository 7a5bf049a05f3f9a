//! Where the API is served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `unix:PATH`, or `IP:PORT` on loopback.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Endpoint {
    /// A socket file. Who may connect is decided by its mode and by peer credentials.
    Unix(PathBuf),
    /// Loopback TCP. Every call needs a token.
    Tcp(SocketAddr),
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither form.
    #[error("{0:?} is no path with a slash, unix:PATH or 127.0.0.1:PORT")]
    Form(String),
    /// An address that others can reach.
    #[error("{0} is not a loopback address: the API has no encryption, so it is served on this machine only")]
    NotLoopback(SocketAddr),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(form()) } else { Ok(Self::Unix(path.into())) };
        }
        // `run/p2pd.sock` is a path too; what has a colon before its first slash is an address, if anything.
        let is_path = text.split_once('/').is_some_and(|(before, _)| !before.contains(':'));
        if is_path || text.starts_with('.') || text.ends_with(".sock") {
            return Ok(Self::Unix(text.into()));
        }
        let text = text.strip_prefix("http://").unwrap_or(text);
        let addr: SocketAddr = text.replacen("localhost:", "127.0.0.1:", 1).parse().map_err(|_| form())?;
        if addr.ip().is_loopback() { Ok(Self::Tcp(addr)) } else { Err(EndpointError::NotLoopback(addr)) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addr) => write!(f, "{addr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_sockets_or_loopback() {
        let unix = |path: &str| Ok(Endpoint::Unix(path.into()));
        assert_eq!("unix:/run/p2pd/p2pd.sock".parse(), unix("/run/p2pd/p2pd.sock"));
        assert_eq!("unix:///run/x".parse(), unix("/run/x"));
        assert_eq!("/run/x".parse(), unix("/run/x"));
        assert_eq!("./x".parse(), unix("./x"));
        assert_eq!("run/p2pd.sock".parse(), unix("run/p2pd.sock"));
        assert_eq!("p2pd.sock".parse(), unix("p2pd.sock"));
        assert_eq!("http://127.0.0.1:9".parse(), Ok(Endpoint::Tcp(([127, 0, 0, 1], 9).into())));
        assert_eq!("localhost:9".parse(), Ok(Endpoint::Tcp(([127, 0, 0, 1], 9).into())));
        assert_eq!("[::1]:9".parse::<Endpoint>().unwrap().to_string(), "[::1]:9");
        let open = SocketAddr::from(([0, 0, 0, 0], 9));
        assert_eq!("0.0.0.0:9".parse::<Endpoint>(), Err(EndpointError::NotLoopback(open)));
        for text in ["", "unix:", "nonsense", "127.0.0.1", "https://127.0.0.1:9", "127.0.0.1:9/x"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::Form(text.into())));
        }
    }
}
