//! A real Java VM in this process: it takes the library in, and threads of chats join it.
#![cfg(feature = "jvm")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use common::{greedy, load, message, tiny_models};
use dormouse_ffi::{CallToken, ChatSettings, Event, Role, WhenFull};
#[cfg(feature = "provoke-panics")]
use dormouse_ffi::{LogLevel, LogSink, LogSinkError};
use jni::objects::JString;
use jni::{InitArgsBuilder, JNIVersion, JavaVM, jni_sig, jni_str};

unsafe extern "system" {
    // The library is linked into this test; a VM would find the symbol by name.
    fn JNI_OnLoad(vm: *mut jni::sys::JavaVM, reserved: *mut std::ffi::c_void) -> jni::sys::jint;
}

/// A thread as Java sees it: its number, name and daemon flag.
type JavaThread = (i64, String, bool);

/// The present thread.
fn java_thread(vm: &JavaVM) -> JavaThread {
    vm.attach_current_thread(|env: &mut jni::Env<'_>| -> jni::errors::Result<_> {
        let thread = env
            .call_static_method(
                jni_str!("java/lang/Thread"),
                jni_str!("currentThread"),
                jni_sig!("()Ljava/lang/Thread;"),
                &[],
            )?
            .l()?;
        let daemon = env
            .call_method(&thread, jni_str!("isDaemon"), jni_sig!("()Z"), &[])?
            .z()?;
        let name = env
            .call_method(
                &thread,
                jni_str!("getName"),
                jni_sig!("()Ljava/lang/String;"),
                &[],
            )?
            .l()?;
        let name = env.cast_local::<JString<'_>>(name)?;
        let number = env
            .call_method(&thread, jni_str!("getId"), jni_sig!("()J"), &[])?
            .j()?;
        Ok((number, name.to_string(), daemon))
    })
    .unwrap()
}

/// The threads that called back, with how often.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<JavaThread, usize>>);

impl Seen {
    /// What JNA does first when it is called: a thread that is not attached by then would get a
    /// name of its own, and be detached afterwards.
    fn called(&self, vm: &JavaVM) {
        let attached = vm.is_thread_attached().unwrap();
        let (number, name, daemon) = java_thread(vm);
        let name = if attached {
            name
        } else {
            format!("not attached: {name}")
        };
        *self
            .0
            .lock()
            .unwrap()
            .entry((number, name, daemon))
            .or_default() += 1;
    }

    /// The threads of this name.
    fn named(&self, name: &str) -> usize {
        let seen = self.0.lock().unwrap();
        seen.keys().filter(|(_, other, _)| other == name).count()
    }
}

/// Notes which thread wakes a future, as the generated code is called back.
struct Called {
    vm: JavaVM,
    seen: Arc<Seen>,
    waits: Thread,
}

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        // Where there was nothing to wait for, the waiting thread is its own caller.
        if thread::current().id() != self.waits.id() {
            self.seen.called(&self.vm);
        }
        self.waits.unpark();
    }
}

fn wait<T>(vm: &JavaVM, seen: &Arc<Seen>, future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Called {
        vm: vm.clone(),
        seen: seen.clone(),
        waits: thread::current(),
    }));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        thread::park();
    }
}

/// A log of Java's.
#[cfg(feature = "provoke-panics")]
struct Log {
    vm: JavaVM,
    seen: Arc<Seen>,
}

#[cfg(feature = "provoke-panics")]
impl LogSink for Log {
    fn log(&self, _: LogLevel, _: String, _: String) -> Result<(), LogSinkError> {
        self.seen.called(&self.vm);
        Ok(())
    }
}

fn machine() -> JavaVM {
    let arguments = InitArgsBuilder::new()
        .version(JNIVersion::V1_8)
        .option("-Xcheck:jni")
        .build()
        .unwrap();
    let vm = JavaVM::new(arguments).expect("a Java VM is needed: install a JDK (11 or newer)");
    // SAFETY: the pointer is the VM's own.
    let version = unsafe { JNI_OnLoad(vm.get_raw(), std::ptr::null_mut()) };
    assert_eq!(version, jni::sys::JNI_VERSION_1_6);
    vm
}

// One test: there is one VM to a process.
#[test]
fn threads_join_the_vm_by_name_and_leave_it_at_their_end() {
    let vm = machine();
    let (told, asked) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let theirs = vm.clone();
    let thread = dormouse::threads::spawn("dormouse-reply", move || {
        for _ in 0..2 {
            let attached = theirs.is_thread_attached().unwrap();
            told.send((attached, java_thread(&theirs))).unwrap();
        }
        let _ = left.recv();
    })
    .unwrap();
    for _ in 0..2 {
        let (attached, (_, name, daemon)) = asked.recv().unwrap();
        assert!(attached, "the thread is not attached");
        assert_eq!(name, "dormouse-reply");
        assert!(daemon);
    }
    drop(leave);
    thread.join().unwrap();

    // A thread that the engine did not start is none of ours.
    let theirs = vm.clone();
    thread::spawn(move || assert!(!theirs.is_thread_attached().unwrap()))
        .join()
        .unwrap();

    replies_call_back_on_few_threads_known_to_the_vm(&vm);
    #[cfg(feature = "provoke-panics")]
    panics_are_logged_on_threads_known_to_the_vm(&vm);
}

fn replies_call_back_on_few_threads_known_to_the_vm(vm: &JavaVM) {
    let seen = Arc::new(Seen::default());
    let model = load(&tiny_models().join("scripted.gguf"));
    let chat = model
        .chat(ChatSettings {
            system: None,
            context_length: None,
            when_full: WhenFull::Stop,
        })
        .unwrap();
    for _ in 0..100 {
        wait(vm, &seen, model.tokenize("one two three".into(), false)).unwrap();
        let sent = chat.clone().send(
            vec![message(Role::User, "think")],
            greedy(),
            CallToken::new(),
        );
        let reply = wait(vm, &seen, sent).unwrap();
        let over = |events: &[Event]| matches!(events.last(), Some(Event::Done { .. }));
        while !over(&wait(vm, &seen, reply.next()).unwrap()) {}
        chat.reset().unwrap();
    }
    let all = seen.0.lock().unwrap().clone();
    for (_, name, daemon) in all.keys() {
        assert!(
            ["dormouse-reply", "dormouse-task"].contains(&name.as_str()),
            "{all:?}"
        );
        assert!(*daemon && name.len() <= 15, "{all:?}");
    }
    // One chat has one thread; tasks follow each other.
    assert_eq!(seen.named("dormouse-reply"), 1, "{all:?}");
    assert!((1..=3).contains(&seen.named("dormouse-task")), "{all:?}");
}

#[cfg(feature = "provoke-panics")]
fn panics_are_logged_on_threads_known_to_the_vm(vm: &JavaVM) {
    let seen = Arc::new(Seen::default());
    let log = Log {
        vm: vm.clone(),
        seen: seen.clone(),
    };
    dormouse_ffi::set_log_sink(Some(Arc::new(log)), LogLevel::Error);
    let model = load(&tiny_models().join("scripted.gguf"));
    for text in [
        "\u{0}provoke a panic",
        "\u{0}provoke a panic in a pool task",
    ] {
        let reply = wait(
            vm,
            &Arc::default(),
            model
                .clone()
                .complete(text.into(), greedy(), CallToken::new()),
        );
        assert!(reply.unwrap().await_events().is_err());
    }
    dormouse_ffi::set_log_sink(None, LogLevel::Error);
    assert_eq!(seen.named("dormouse-reply"), 1);
    assert_eq!(seen.named("dormouse-1"), 1);
    assert_eq!(seen.0.lock().unwrap().len(), 2, "{:?}", seen.0.lock());
}
