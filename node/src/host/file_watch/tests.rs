use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::hub::{Inotify, Listeners};
use super::*;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn listen(hub: &Arc<Hub>, directories: &[&Path]) -> (Watch, Receiver<Change>) {
    let (tell, told) = channel();
    let directories = directories.iter().map(|path| path.to_path_buf()).collect();
    let tell = Box::new(move |change| drop(tell.send(change)));
    (Watch::on(Arc::clone(hub), directories, tell).unwrap(), told)
}

/// Waits until a file is told of; nothing else may be.
fn hears(told: &Receiver<Change>, path: &Path) {
    let change = told.recv_timeout(PATIENCE).expect("it is told");
    assert_eq!(change, Change::Files(vec![path.to_owned()]));
}

/// A hub without inotify.
fn without_inotify() -> Arc<Hub> {
    let error = notify::Error::io(io::Error::from_raw_os_error(24));
    Arc::new(Hub::new(|_| Err(error)))
}

/// A hub that hears nothing by itself, and its listeners.
fn deaf() -> (Arc<Hub>, Arc<Listeners>) {
    let mut kept = None;
    let hub = Hub::new(|listeners| {
        kept = Some(Arc::clone(listeners));
        let (left, log) = (usize::MAX, Log::default());
        Ok(Box::new(Scarce { left, log }))
    });
    (Arc::new(hub), kept.unwrap())
}

#[test]
fn each_hears_of_its_own_directories_from_one_instance() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (a, b, link) = (root.join("a"), root.join("b"), root.join("link"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    std::os::unix::fs::symlink(&a, &link).unwrap();
    let (_one, first) = listen(&Hub::shared(), &[&a]);
    let (two, second) = listen(&Hub::shared(), &[&a, &b]);
    let (_three, third) = listen(&Hub::shared(), &[&link]);
    assert!(Arc::ptr_eq(&Hub::shared(), &two.hub));

    // One event, unlike a file.
    let put = |directory: &Path, name: &str| fs::create_dir(directory.join(name)).unwrap();
    put(&b, "in-b");
    hears(&second, &b.join("in-b"));
    put(&a, "in-a");
    hears(&first, &a.join("in-a"));
    hears(&second, &a.join("in-a"));
    hears(&third, &link.join("in-a"));
    drop(two);
    put(&a, "later");
    hears(&first, &a.join("later"));
    hears(&third, &link.join("later"));
}

#[test]
fn without_inotify_directories_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    // One that is without inotify has a thread that looks, too, at any time.
    let (hub, listeners) = deaf();
    let (_watch, told) = listen(&hub, &[&root]);
    let mut seen = BTreeMap::new();
    let mut look = || {
        super::polling::look(&mut seen, &listeners);
        told.try_iter().collect::<Vec<_>>()
    };
    let files = |names: &[&str]| {
        let paths = names.iter().map(|name| root.join(name));
        vec![Change::Files(paths.collect())]
    };
    fs::write(root.join("before"), "").unwrap();
    assert_eq!(look(), files(&["before"]), "nothing falls between");
    assert_eq!(look(), []);
    fs::write(root.join(".hidden"), "").unwrap();
    fs::write(root.join("new"), "").unwrap();
    fs::remove_file(root.join("before")).unwrap();
    assert_eq!(look(), files(&["before", "new"]));
    // Of the same length.
    fs::write(root.join(".hidden"), "x").unwrap();
    fs::rename(root.join(".hidden"), root.join("new")).unwrap();
    assert_eq!(look(), files(&["new"]));
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(look(), files(&["new"]));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("again"), "").unwrap();
    assert_eq!(look(), files(&["again"]));
}

#[test]
fn a_directory_that_is_not_there_is_refused_either_way() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = directory.path().join("nothing");
    for hub in [Hub::shared(), without_inotify()] {
        let watch = Watch::on(hub, vec![nothing.clone()], Box::new(drop));
        assert!(watch.unwrap_err().to_string().contains("nothing"));
    }
}

#[test]
fn inotify_that_is_there_again_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let hub = without_inotify();
    let (mut watch, told) = listen(&hub, &[&root]);
    watch.renew();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Change::Anything));
    fs::create_dir(root.join("new")).unwrap();
    hears(&told, &root.join("new"));
}

/// Watched and unwatched directories, in order.
type Log = Arc<Mutex<Vec<(&'static str, PathBuf)>>>;

/// An inotify that lets so many directories be watched.
struct Scarce {
    left: usize,
    log: Log,
}

impl notify::Watcher for Scarce {
    fn new<F: notify::EventHandler>(_: F, _: notify::Config) -> notify::Result<Scarce> {
        Err(notify::Error::generic("made by hand"))
    }

    fn watch(&mut self, path: &Path, _: notify::RecursiveMode) -> notify::Result<()> {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch)),
        };
        self.log.lock().unwrap().push(("watch", path.to_owned()));
        Ok(())
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.log.lock().unwrap().push(("unwatch", path.to_owned()));
        Ok(())
    }

    fn kind() -> notify::WatcherKind {
        notify::WatcherKind::NullWatcher
    }
}

fn scarce(left: usize) -> (Arc<Hub>, Log) {
    let log = Log::default();
    let watcher: Inotify = Box::new(Scarce {
        left,
        log: Arc::clone(&log),
    });
    (Arc::new(Hub::new(|_| Ok(watcher))), log)
}

#[test]
fn inotify_that_is_exhausted_later_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let (hub, _) = scarce(1);
    let (mut watch, told) = listen(&hub, &[directory.path()]);
    watch.renew();
    // It is done without by now, so the kernel's own is asked for.
    watch.renew();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Change::Anything));
}

#[test]
fn a_directory_that_is_another_now_is_let_go_when_nobody_else_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let [a, b, link] = ["a", "b", "link"].map(|name| root.join(name));
    let lead_to = |real: &Path| {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(real, &link).unwrap();
    };
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    let (hub, log) = scarce(10);
    let said = || std::mem::take(&mut *log.lock().unwrap());
    lead_to(&a);
    let (mut watch, _told) = listen(&hub, &[&link]);
    let (other, _told_too) = listen(&hub, &[&a]);
    said();
    lead_to(&b);
    watch.renew();
    assert_eq!(said(), [("watch", b.clone())], "somebody else has it");
    drop(other);
    assert_eq!(said(), [("unwatch", a.clone())]);
    lead_to(&a);
    watch.renew();
    assert_eq!(said(), [("unwatch", b), ("watch", a)]);
}

#[test]
fn a_directory_that_was_made_anew_is_told_of_when_it_is_watched_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap().join("queue");
    fs::create_dir(&root).unwrap();
    let (hub, _) = deaf();
    let (mut watch, told) = listen(&hub, &[&root]);
    watch.renew();
    assert!(told.try_recv().is_err(), "it is the same");
    // One that is there meanwhile, so that the new one is another file in any case.
    fs::rename(&root, directory.path().join("former")).unwrap();
    fs::create_dir(&root).unwrap();
    watch.renew();
    assert_eq!(told.try_recv(), Ok(Change::Anything));
    watch.renew();
    assert!(told.try_recv().is_err(), "told once");
}
