//! Runs language models on the device.
