//! The link that a transfer uses at the moment, renewed once for all its connections.

use tokio::sync::watch;

use crate::signed_url::SignedUrl;

/// A link and how many came before it, so that a death is told once.
#[derive(Debug, Clone)]
pub(super) struct CurrentLink {
    pub(super) link: SignedUrl,
    pub(super) generation: u64,
}

/// Where the connections find the link, and wait for another one.
#[derive(Debug)]
pub(super) struct LinkHolder(watch::Sender<CurrentLink>);

impl LinkHolder {
    pub(super) fn new(link: SignedUrl) -> Self {
        let (holder, _) = watch::channel(CurrentLink {
            link,
            generation: 0,
        });
        Self(holder)
    }

    pub(super) fn current(&self) -> CurrentLink {
        self.0.borrow().clone()
    }

    pub(super) fn replace(&self, link: SignedUrl) {
        self.0.send_modify(|current| {
            current.link = link;
            current.generation += 1;
        });
    }

    /// Waits for a link that came after this generation.
    pub(super) async fn after(&self, generation: u64) {
        let mut seen = self.0.subscribe();
        // The sender is `self`: it is not gone while it is borrowed.
        drop(
            seen.wait_for(|current| current.generation > generation)
                .await,
        );
    }
}
