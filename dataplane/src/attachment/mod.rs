//! Wiring one pod to its Forwarder.
