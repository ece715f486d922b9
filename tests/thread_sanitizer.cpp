// SPDX-License-Identifier: GPL-2.0-or-later
//
// What ThreadSanitizer is not to report of the tests, and of the plyfs that they mount;
// TSAN_OPTIONS can add to it.

// The sanitizer's name for it.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {
    return
        // Not built with ThreadSanitizer, so that how its own tasks are handed over is not seen.
        "race:libtbb.so\n"
        "race:tbb::detail\n"
        // liburing unmaps rings without the C library, so that a ring at the same address seems to
        // be the one of a thread that has ended.
        "race:io_uring_\n"
        "race:plyfs::session::RingLoop::Entry::command\n"
        // The order of directories follows the tree, which renames change: what is above is locked
        // first at any one time (union.h). A real deadlock ends at the watchdog of race_test.cpp.
        "deadlock:plyfs::Union::rename\n"
        "deadlock:plyfs::Union::rmdir\n"
        "deadlock:plyfs::Union::unlink\n";
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
