//! KWOK, which plays kubelets: a Pod on one of its nodes is ready at once, and gone at once when it is deleted.
//! https://kwok.sigs.k8s.io

use std::{fs, net::TcpStream, path::PathBuf};

use super::Kubernetes;
use crate::{
    Context as _,
    server::{Product, Site},
};

pub static KWOK: Product = Product {
    accounts: &[],
    name: "kwok",
    prepare: |site| {
        let path = stages(site);
        fs::write(&path, STAGES).context(|| format!("cannot write {}", path.display()))
    },
    arguments,
    is_ready: |site, _, _| TcpStream::connect(("127.0.0.1", site.port)).is_ok(),
    stop: "TERM",
    last: "KILL",
    url: |site| format!("http://127.0.0.1:{}", site.port),
};

fn stages(site: &Site) -> PathBuf {
    site.folder.join("stages.yaml")
}

fn arguments(site: &Site) -> Vec<String> {
    let (label, value) = Kubernetes::NODE_LABEL;
    let kubeconfig = site.settings.first().map_or("", String::as_str);
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--config={}", stages(site).display()),
        // A node that loses the label is left alone, as it was: so one can be lost.
        format!("--manage-nodes-with-label-selector={label}={value}"),
        "--node-lease-duration-seconds=40".to_owned(),
        format!("--server-address=127.0.0.1:{}", site.port),
    ]
}

/// What becomes of a node that is made, and of a Pod that is put on it, and of one that is deleted.
const STAGES: &str = r#"
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: node-ready}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector:
    matchExpressions:
      - {key: '.status.phase', operator: NotIn, values: [Running]}
  next:
    statusTemplate: |
      phase: Running
      conditions:
        - type: Ready
          status: "True"
          reason: KubeletReady
          message: it is played
          lastHeartbeatTime: {{ Now | Quote }}
          lastTransitionTime: {{ Now | Quote }}
      allocatable: {cpu: "1000", memory: 1Ti, pods: "1000000"}
      capacity: {cpu: "1000", memory: 1Ti, pods: "1000000"}
---
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: pod-ready}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: '.metadata.deletionTimestamp', operator: DoesNotExist}
      - {key: '.status.phase', operator: In, values: [Pending]}
  next:
    statusTemplate: |
      phase: Running
      startTime: {{ Now | Quote }}
      conditions:
        - {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
        - {type: ContainersReady, status: "True", lastTransitionTime: {{ Now | Quote }}}
        - {type: Ready, status: "True", lastTransitionTime: {{ Now | Quote }}}
      containerStatuses:
        {{ range .spec.containers }}
        - name: {{ .name | Quote }}
          image: {{ .image | Quote }}
          ready: true
          restartCount: 0
          state: {running: {startedAt: {{ Now | Quote }}}}
        {{ end }}
---
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: pod-gone}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: '.metadata.deletionTimestamp', operator: Exists}
  next:
    delete: true
"#;
