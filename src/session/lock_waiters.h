// SPDX-License-Identifier: GPL-2.0-or-later
//
// Threads that wait for locks which somebody else holds: waiting must not use up the threads that
// serve. They use the session, so end() comes before its end. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "sys/mutex.h"

namespace plyfs::session {

class LockWaiters {
public:
    LockWaiters() = default;
    LockWaiters(const LockWaiters&) = delete;
    LockWaiters& operator=(const LockWaiters&) = delete;
    ~LockWaiters() { end(); }

    // Carries out `action` on a thread of its own.
    void add(std::function<void()> action);
    // For actions: lets time pass. False, at once, when they are to end.
    bool pause(std::chrono::milliseconds duration);
    // How many are waiting.
    std::size_t size() const;
    // Ends all of them and waits for that. Nothing may be added any more.
    void end();

private:
    mutable Mutex mutex_;
    std::condition_variable_any ended_;
    bool ending_ GUARDED_BY(mutex_) = false;
    std::uint64_t next_ GUARDED_BY(mutex_) = 0;
    std::map<std::uint64_t, std::thread> threads_ GUARDED_BY(mutex_);
    std::vector<std::uint64_t> finished_ GUARDED_BY(mutex_);  // to be joined
};

}  // namespace plyfs::session
