//! What a client gets.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
pub enum AnswerBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// As it comes from the model server, until the last piece has come.
    Relayed(mpsc::Receiver<Piece>, End),
}

/// A piece of a relayed answer.
pub enum Piece {
    /// More follows.
    Flowing(Bytes),
    /// Nothing follows: the answer is whole and its record durable. May be empty.
    Last(Bytes),
}

/// Whether the last piece of a relayed answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Not yet. When no more pieces come now, the answer broke off.
    Open,
    /// It has.
    Reached,
}

/// The answer broke off: the connection is closed without an end mark, so that the client notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct Cut;

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Relayed(_, End::Reached) => Poll::Ready(None),
            Self::Relayed(pieces, end) => pieces.poll_recv(context).map(|piece| match piece {
                Some(Piece::Flowing(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::Last(bytes)) => {
                    *end = End::Reached;
                    (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
                }
                // Whoever relays went away without a last piece, for whatever reason.
                None => {
                    *end = End::Reached;
                    Some(Err(Cut))
                }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Relayed(_, End::Reached))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(..) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn only_a_last_piece_ends_an_answer_in_good_order() {
        let (pieces, relayed) = mpsc::channel(4);
        pieces.send(Piece::Flowing("a".into())).await.ok();
        pieces.send(Piece::Last("b".into())).await.ok();
        let whole = AnswerBody::Relayed(relayed, End::Open).collect().await.map(|body| body.to_bytes());
        assert_eq!(whole.ok(), Some(Bytes::from("ab")));

        let (pieces, relayed) = mpsc::channel(4);
        pieces.send(Piece::Flowing("a".into())).await.ok();
        drop(pieces);
        assert!(AnswerBody::Relayed(relayed, End::Open).collect().await.is_err());
    }
}
