//! The demo's input.

use bytes::Bytes;

use crate::exit::Failure;
use crate::split::{Splitter, Way};

/// 132 pictures of "Big Buck Bunny", © 2008 Blender Foundation, CC BY 3.0: see `data/README.md`.
static FILM: &[u8] = include_bytes!("../../data/bunny-320x180.mjpeg");

/// Pictures that are played in a loop.
pub(super) struct Film(Vec<Bytes>);

impl Film {
    /// Returns the film that is part of the program.
    pub(super) fn embedded() -> Result<Self, Failure> {
        let mut rest = FILM;
        let mut splitter = Splitter::new(Way::Jpeg, FILM.len());
        let mut pictures = Vec::new();
        let broken = |error| Failure::failed("the film in this program is damaged").because(error);
        while let Some(picture) = splitter.next_message(&mut rest).map_err(broken)? {
            pictures.push(picture.into());
        }
        Ok(Self(pictures))
    }

    /// Returns `count` pictures, starting again after the last.
    pub(super) fn play(&self, count: u32) -> impl Iterator<Item = &Bytes> {
        self.0.iter().cycle().take(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_132_pictures_and_starts_again() {
        let film = Film::embedded().unwrap();
        assert_eq!(film.0.len(), 132);
        let played: Vec<_> = film.play(133).collect();
        assert_eq!((played.len(), played[132]), (133, played[0]));
        assert_ne!(played[1], played[0]);
    }
}
