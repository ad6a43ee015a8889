//! What a waiting call costs in memory.

use std::mem::{size_of, size_of_val};

use super::*;
use crate::queue::{Key, Outcome, Waiter};

#[tokio::test(start_paused = true)]
async fn a_waiting_call_takes_less_than_a_kilobyte() {
    let admission = admission(one_pool(1));
    let future = admission.admit(ask());

    // In the worst case five of the eleven places of the map's nodes are taken; the channel has two wakers.
    let place = (size_of::<(Instant, Key)>() + size_of::<Waiter>()) * 11 / 5;
    let channel = size_of::<Outcome>() + 64;
    let all = place + channel + size_of_val(&future);

    assert!(all <= 1024, "{all} bytes, {} of them the future", size_of_val(&future));
}
