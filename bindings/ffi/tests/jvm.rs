//! A real Java VM in this process: it takes the library in, and threads of chats join it.
#![cfg(feature = "jvm")]
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;

// Linked in for JNI_OnLoad.
use dormouse_ffi as _;
use jni::objects::JString;
use jni::{InitArgsBuilder, JNIVersion, JavaVM, jni_sig, jni_str};

unsafe extern "system" {
    // The library is linked into this test; a VM would find the symbol by name.
    fn JNI_OnLoad(vm: *mut jni::sys::JavaVM, reserved: *mut std::ffi::c_void) -> jni::sys::jint;
}

/// The name and the daemon flag of the present thread, as Java sees them.
fn java_thread(vm: &JavaVM) -> (String, bool) {
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
        Ok((name.to_string(), daemon))
    })
    .unwrap()
}

#[test]
fn threads_of_chats_join_the_vm_by_name_and_leave_it_at_their_end() {
    let arguments = InitArgsBuilder::new()
        .version(JNIVersion::V1_8)
        .option("-Xcheck:jni")
        .build()
        .unwrap();
    let vm = JavaVM::new(arguments).expect("a Java VM is needed: install a JDK (11 or newer)");
    // SAFETY: the pointer is the VM's own.
    let version = unsafe { JNI_OnLoad(vm.get_raw(), std::ptr::null_mut()) };
    assert_eq!(version, jni::sys::JNI_VERSION_1_6);

    let (told, asked) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let theirs = vm.clone();
    // What the engine does at the start of the thread of a chat.
    let thread = dormouse::threads::spawn("dormouse-session", move || {
        let attached = theirs.is_thread_attached().unwrap();
        told.send((attached, java_thread(&theirs))).unwrap();
        let still = theirs.is_thread_attached().unwrap();
        told.send((still, java_thread(&theirs))).unwrap();
        let _ = left.recv();
    })
    .unwrap();
    for _ in 0..2 {
        let (attached, (name, daemon)) = asked.recv().unwrap();
        assert!(attached, "the thread is not attached");
        assert_eq!(name, "dormouse-session");
        assert!(daemon);
    }
    drop(leave);
    thread.join().unwrap();

    // A thread that the engine did not start is none of ours.
    let theirs = vm.clone();
    std::thread::spawn(move || assert!(!theirs.is_thread_attached().unwrap()))
        .join()
        .unwrap();
}
