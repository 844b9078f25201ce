//! The plan, told as stories and tried by replicas that see too little, too late, and die.
//!
//! `story`: a world in YAML and the plan for it, beside it. `simulation`: an API server in memory,
//! replicas with stale caches, random edits, kills, and what must hold after every single call.

mod happenings;
mod invariants;
mod replica;
mod server;
mod shown;
mod simulation;
mod step;
mod story;
mod view;
mod writes;
