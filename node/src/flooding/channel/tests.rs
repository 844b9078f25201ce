use std::time::Duration;

use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

use linkstate::{End, Reason, Report, State};

use super::*;

fn keys(lines: &[&str]) -> Keys {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line:0>32}")).collect();
    Keys::parse(lines.join("\n").as_bytes()).unwrap()
}

type Ends = (
    Result<Channel<DuplexStream>, Error>,
    Result<(Channel<DuplexStream>, Key), Error>,
);

async fn connect(dials: &Keys, answers: &Keys) -> Ends {
    let (one, two) = duplex(1 << 20);
    tokio::join!(
        Channel::dial(one, dials.first()),
        Channel::answer(two, answers)
    )
}

async fn connected() -> (Channel<DuplexStream>, Channel<DuplexStream>) {
    let (one, two) = connect(&keys(&["k"]), &keys(&["k"])).await;
    (one.unwrap(), two.unwrap().0)
}

fn report(links: usize) -> Message {
    let end = End::observed(None, State::Up, Reason::None, 0);
    let ends = (0..links).map(|link| (format!("l-{link:06}"), end));
    Message::Report(Report {
        origin: "n1".to_owned(),
        forwarder: "plant.iot.a".to_owned(),
        ends: ends.collect(),
        ..Report::default()
    })
}

#[tokio::test]
async fn messages_of_any_length_go_both_ways() {
    let (mut one, mut two) = connected().await;
    let messages = [report(3), report(0), report(20_000), Message::Ping];
    let send = async { one.send(&messages).await.unwrap() };
    let receive = async {
        for expected in &messages {
            assert_eq!(two.receive().await.unwrap(), *expected);
        }
    };
    tokio::join!(send, receive);
    two.send(&[Message::Pong]).await.unwrap();
    assert_eq!(one.receive().await.unwrap(), Message::Pong);
    drop(two);
    assert!(matches!(one.receive().await, Err(Error::Closed)));
}

#[tokio::test]
async fn every_key_of_the_file_is_accepted_and_no_other() {
    let accepts = keys(&["new", "old"]);
    for dials in [keys(&["new"]), keys(&["old", "new"])] {
        let (one, two) = connect(&dials, &accepts).await;
        one.unwrap();
        assert_eq!(two.unwrap().1, *dials.first());
    }
    let (one, two) = connect(&keys(&["other"]), &accepts).await;
    assert!(matches!(one, Err(Error::Refused)));
    assert!(matches!(two, Err(Error::Key)));
}

#[tokio::test]
async fn one_message_too_long_does_not_keep_the_others() {
    let (mut one, mut two) = connected().await;
    one.send(&[report(60_000), Message::Ping]).await.unwrap();
    assert_eq!(two.receive().await.unwrap(), Message::Ping);
}

#[tokio::test]
async fn garbage_is_no_greeting() {
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: somebody.example.org\r\n\r\n............"[..],
        &[0; 50],
    ] {
        let (mut one, two) = duplex(1 << 10);
        one.write_all(garbage).await.unwrap();
        let answered = Channel::answer(two, &keys(&["k"])).await;
        assert!(matches!(answered, Err(Error::Garbage | Error::Key)));
    }
    let (one, two) = duplex(1 << 10);
    drop(one);
    let answered = Channel::answer(two, &keys(&["k"])).await;
    assert!(matches!(answered, Err(Error::Closed)));
}

/// Passes on what `from` says to `to` and keeps a copy, until `from` ends.
async fn eavesdrop(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Vec<u8> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = from.read(&mut buffer).await.unwrap();
        if bytes == 0 {
            return heard;
        }
        heard.extend_from_slice(&buffer[..bytes]);
        to.write_all(&buffer[..bytes]).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_recorded_of_another_connection_is_of_no_use() {
    let keys = keys(&["k"]);
    let ((one, near), (far, two)) = (duplex(1 << 10), duplex(1 << 10));
    let ((near_reads, near_writes), (far_reads, far_writes)) =
        (tokio::io::split(near), tokio::io::split(far));
    let back = tokio::spawn(eavesdrop(far_reads, near_writes));
    let record = tokio::spawn(eavesdrop(near_reads, far_writes));
    let said = async {
        let mut one = Channel::dial(one, keys.first()).await.unwrap();
        one.send(&[report(2)]).await.unwrap();
    };
    let heard = async {
        let (mut two, _) = Channel::answer(two, &keys).await.unwrap();
        assert_eq!(two.receive().await.unwrap(), report(2));
    };
    tokio::join!(said, heard);
    let record = record.await.unwrap();
    back.await.unwrap();
    let secret = b"iot";
    assert!(!record.windows(secret.len()).any(|window| window == secret));

    let (mut replays, answers) = duplex(1 << 12);
    replays.write_all(&record).await.unwrap();
    let (mut answers, _) = Channel::answer(answers, &keys).await.unwrap();
    assert!(matches!(answers.receive().await, Err(Error::Noise(_))));
}

#[tokio::test]
async fn bytes_that_were_changed_on_the_way_end_the_connection() {
    let (mut one, mut two) = connected().await;
    one.stream.write_all(&[0, 20]).await.unwrap();
    one.stream.write_all(&[7; 20]).await.unwrap();
    assert!(matches!(two.receive().await, Err(Error::Noise(_))));
    let (mut one, mut two) = connected().await;
    let huge = u32::MAX.to_be_bytes();
    one.send_record(&huge).await.unwrap();
    assert!(matches!(two.receive().await, Err(Error::Oversize { .. })));
}

#[tokio::test]
async fn nothing_is_lost_when_receiving_is_given_up_and_begun_anew() {
    let (mut one, mut two) = connected().await;
    let big = report(20_000);
    let send = async { one.send(&[big.clone(), Message::Ping]).await.unwrap() };
    let receive = async {
        let mut received = Vec::new();
        while received.len() < 2 {
            if let Ok(message) = timeout(Duration::from_micros(50), two.receive()).await {
                received.push(message.unwrap());
            }
        }
        assert_eq!(received, [big.clone(), Message::Ping]);
    };
    tokio::join!(send, receive);
}
