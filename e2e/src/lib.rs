//! Real Kubernetes servers for tests: etcd and kube-apiserver as processes on loopback.
