// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/housekeeper.h"

#include <utility>

namespace plyfs::session {
namespace {

// How long a backing waits for the next open of its file.
constexpr std::chrono::seconds kIdle{1};

}  // namespace

void Housekeeper::start(fuse_session* session) {
    session_ = session;
    {
        const Lock lock(mutex_);
        running_ = true;
    }
    thread_ = std::thread([this] { run(); });
}

bool Housekeeper::pause(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    const Lock lock(mutex_);
    pausing_ = true;
    changed_.notify_all();
    while (!waiting_) {
        if (changed_.wait_until(mutex_, until) == std::cv_status::timeout && !waiting_) {
            pausing_ = false;
            return false;
        }
    }
    return true;
}

void Housekeeper::resume() {
    {
        const Lock lock(mutex_);
        pausing_ = false;
    }
    changed_.notify_all();
}

std::deque<Housekeeper::Name> Housekeeper::names() const {
    const Lock lock(mutex_);
    return names_;
}

void Housekeeper::keep(NodeId parent, std::string name) {
    const Lock lock(mutex_);
    names_.push_back({parent, std::move(name)});
}

void Housekeeper::stop() {
    {
        const Lock lock(mutex_);
        running_ = false;
        names_.clear();
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Housekeeper::expire_entry(NodeId parent, std::string name) {
    {
        const Lock lock(mutex_);
        if (!running_) return;
        names_.push_back({parent, std::move(name)});
    }
    changed_.notify_all();
}

void Housekeeper::backing_idle() {
    {
        const Lock lock(mutex_);
        if (idle_) return;
        idle_ = true;
    }
    changed_.notify_all();
}

bool Housekeeper::wait(std::deque<Name>& names) {
    const Lock lock(mutex_);
    const auto until = std::chrono::steady_clock::now() + kIdle;
    waiting_ = true;
    changed_.notify_all();  // pause()
    while (running_ && (pausing_ || names_.empty())) {
        if (!idle_ || pausing_) {
            changed_.wait(mutex_);
        } else if (changed_.wait_until(mutex_, until) == std::cv_status::timeout && !pausing_) {
            break;
        }
    }
    waiting_ = false;
    if (!running_) return false;
    names.swap(names_);
    idle_ = false;
    return true;
}

void Housekeeper::run() {
    std::deque<Name> names;
    while (wait(names)) {
        for (const Name& name : names) {
            // ENOENT: the kernel does not know it; ENOTDIR and others can't be helped either.
            fuse_lowlevel_notify_expire_entry(session_, name.parent, name.name.data(),
                                              name.name.size());
        }
        names.clear();
        const auto now = passthrough::OpenFiles::Clock::now();
        if (open_files_.close_idle(now - kIdle, now - attached_)) backing_idle();
    }
}

}  // namespace plyfs::session
