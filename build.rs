//! Lets tests and benches, which link libpython, find the one that they were built against.

fn main() {
    if std::env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_none() {
        pyo3_build_config::add_libpython_rpath_link_args();
    }
    println!("cargo:rerun-if-env-changed=PYO3_BUILD_EXTENSION_MODULE");
    println!("cargo:rerun-if-changed=voices");
    println!("cargo:rerun-if-changed=python/ishowtts/web");
}
