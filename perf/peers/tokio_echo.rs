// Peer: an echo server in Rust with tokio, a task per connection, on one thread.
//
// Run:  tokio_echo --port 7000          then connect anything to 127.0.0.1:7000
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{signal, SignalKind};

async fn echo(mut peer: TcpStream) {
    let mut buffer = vec![0u8; 65536];
    while let Ok(count) = peer.read(&mut buffer).await {
        if count == 0 || peer.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn port_given() -> u16 {
    let words: Vec<String> = std::env::args().collect();
    match words.iter().position(|word| word == "--port") {
        Some(place) => words.get(place + 1).and_then(|word| word.parse().ok()).unwrap_or(0),
        None => 0,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port_given())))?;
    let listener = socket.listen(4096)?;
    let mut asked = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        asked.recv().await;
        std::process::exit(0);
    });
    println!("listening {}", listener.local_addr()?);
    loop {
        if let Ok((peer, _)) = listener.accept().await {
            peer.set_nodelay(true).ok();
            tokio::spawn(echo(peer));
        }
    }
}
