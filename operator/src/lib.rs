//! The operator: observe -> pure plan -> server-side apply, by any number of equal replicas.
