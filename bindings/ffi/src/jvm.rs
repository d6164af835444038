//! What a Java VM needs beside uniffi, which speaks through JNA: the VM is remembered when the
//! library is loaded by `System.load`, and the threads of chats attach to it by their name and
//! stay attached. JNA would attach and detach a thread for each event that it hands over.

use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::ptr;

use jni::JavaVM;
use jni::sys;

/// Called by the VM when `System.load` or `System.loadLibrary` takes the library in.
///
/// # Safety
/// The VM calls it, with a pointer to itself.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(
    vm: *mut sys::JavaVM,
    _reserved: *mut c_void,
) -> sys::jint {
    if vm.is_null() {
        return sys::JNI_ERR;
    }
    // SAFETY: the VM passes a pointer to itself, which stays valid: no VM is ever unloaded.
    unsafe { JavaVM::from_raw(vm) };
    dormouse::threads::set_on_start(attach);
    sys::JNI_VERSION_1_6
}

/// Detaches its thread when the thread ends, as Android insists on.
struct Attached(JavaVM);

impl Drop for Attached {
    fn drop(&mut self) {
        let vm = self.0.get_raw();
        // SAFETY: `vm` is the process's VM. The thread was attached by us and runs no Java code
        // any more: this is the end of its Rust code.
        unsafe { ((**vm).v1_4.DetachCurrentThread)(vm) };
    }
}

thread_local! {
    static ATTACHED: RefCell<Option<Attached>> = const { RefCell::new(None) };
}

/// Attaches the present thread under `name` until it ends; as a daemon, so that a program whose
/// main thread is done does not wait for a chat that it forgot to close.
fn attach(name: &str) {
    let (Ok(vm), Ok(name)) = (JavaVM::singleton(), CString::new(name)) else {
        return;
    };
    if vm.is_thread_attached().unwrap_or(true) {
        return;
    }
    let mut arguments = sys::JavaVMAttachArgs {
        version: sys::JNI_VERSION_1_6,
        name: name.as_ptr().cast_mut(),
        group: ptr::null_mut(),
    };
    let mut env = ptr::null_mut();
    let raw = vm.get_raw();
    // SAFETY: `raw` is the process's VM, and the arguments live until the call returns.
    let status = unsafe {
        ((**raw).v1_4.AttachCurrentThreadAsDaemon)(
            raw,
            &raw mut env,
            (&raw mut arguments).cast::<c_void>(),
        )
    };
    if status == sys::JNI_OK {
        ATTACHED.with(|attached| *attached.borrow_mut() = Some(Attached(vm)));
    } else {
        log::warn!("the Java VM did not take a thread in: status {status}");
    }
}
