// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/lock_waiters.h"

#include <utility>

namespace plyfs::session {

void LockWaiters::add(std::function<void()> action) {
    std::vector<std::thread> finished;
    {
        const Lock lock(mutex_);
        for (const std::uint64_t id : std::exchange(finished_, {}))
            finished.push_back(std::move(threads_.extract(id).mapped()));
        const std::uint64_t id = next_++;
        threads_.emplace(id, std::thread([this, id, action = std::move(action)] {
                             action();
                             const Lock done(mutex_);
                             finished_.push_back(id);
                         }));
    }
    for (std::thread& thread : finished) thread.join();
}

bool LockWaiters::pause(std::chrono::milliseconds duration) {
    const Lock lock(mutex_);
    if (!ending_) ended_.wait_for(mutex_, duration);
    return !ending_;
}

std::size_t LockWaiters::size() const {
    const Lock lock(mutex_);
    return threads_.size() - finished_.size();
}

void LockWaiters::end() {
    std::map<std::uint64_t, std::thread> threads;
    {
        const Lock lock(mutex_);
        ending_ = true;
        threads = std::exchange(threads_, {});
    }
    ended_.notify_all();
    for (auto& [id, thread] : threads) thread.join();
}

}  // namespace plyfs::session
