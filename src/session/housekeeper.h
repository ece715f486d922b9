// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is done beside the requests, by a thread of its own: telling the kernel of names that lead
// elsewhere by now, and closing backings that nobody came back for. A serving thread must not send
// such a notification: the kernel takes the lock of the directory for it, which somebody may hold
// whose request waits for a serving thread. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <string>
#include <thread>

#include <fuse_lowlevel.h>

#include "passthrough/open_files.h"
#include "sys/mutex.h"
#include "union/node.h"

namespace plyfs::session {

class Housekeeper {
public:
    // `open_files` is borrowed. Backings stay attached for `attached`.
    Housekeeper(passthrough::OpenFiles& open_files, std::chrono::nanoseconds attached)
        : open_files_(open_files), attached_(attached) {}
    ~Housekeeper() { stop(); }
    Housekeeper(const Housekeeper&) = delete;
    Housekeeper& operator=(const Housekeeper&) = delete;

    // `session` is mounted, and borrowed until stop(), which waits for the thread. What is asked
    // for before and after is dropped.
    void start(fuse_session* session) EXCLUDES(mutex_);
    void stop() EXCLUDES(mutex_);

    // Nothing is done until resume(); what is asked for is kept, for a successor process too.
    // False: something takes longer than `patience`, and is gone on with.
    bool pause(std::chrono::milliseconds patience) EXCLUDES(mutex_);
    void resume() EXCLUDES(mutex_);
    struct Name {
        NodeId parent = 0;
        std::string name;
    };
    std::deque<Name> names() const EXCLUDES(mutex_);
    // Before start(): a name of the process before.
    void keep(NodeId parent, std::string name) EXCLUDES(mutex_);

    // The next walk over `name` in `parent` asks the daemon. Returns at once.
    void expire_entry(NodeId parent, std::string name) EXCLUDES(mutex_);
    // OpenFiles has a backing that is idle or attached.
    void backing_idle() EXCLUDES(mutex_);

private:
    void run() EXCLUDES(mutex_);
    // What is to be done next; false: nothing, ever.
    bool wait(std::deque<Name>& names) EXCLUDES(mutex_);

    passthrough::OpenFiles& open_files_;
    const std::chrono::nanoseconds attached_;
    fuse_session* session_ = nullptr;  // constant while the thread runs
    mutable Mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<Name> names_ GUARDED_BY(mutex_);
    bool running_ GUARDED_BY(mutex_) = false;
    bool pausing_ GUARDED_BY(mutex_) = false;
    bool waiting_ GUARDED_BY(mutex_) = false;  // the thread, for something to do
    bool idle_ GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace plyfs::session
