// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/lock_operations.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>

#include "session/branch_locks.h"
#include "session/reply.h"
#include "sys/data.h"
#include "sys/open.h"

namespace plyfs::session {

Result<std::shared_ptr<const UniqueFd>> BranchLocks::description(std::uint64_t node,
                                                                 std::uint64_t owner, int file) {
    const Lock lock(mutex_);
    auto& held = held_[{node, owner}];
    if (!held) {
        auto opened = sys::reopen(file, O_RDWR);
        if (!opened) opened = sys::reopen(file, O_RDONLY);
        if (!opened) {
            held_.erase({node, owner});
            return fail(opened.error());
        }
        held = std::make_shared<const UniqueFd>(*std::move(opened));
    }
    return held;
}

void BranchLocks::drop(std::uint64_t node, std::uint64_t owner) {
    std::shared_ptr<const UniqueFd> dropped;  // closed after the mutex
    const Lock lock(mutex_);
    const auto found = held_.find({node, owner});
    if (found == held_.end()) return;
    dropped = std::move(found->second);
    held_.erase(found);
}

void BranchLocks::save(const std::function<void(std::uint64_t node, std::uint64_t owner,
                                                int descriptor)>& visit) const {
    const Lock lock(mutex_);
    for (const auto& [key, description] : held_) visit(key.first, key.second, description->get());
}

void BranchLocks::restore(std::uint64_t node, std::uint64_t owner, UniqueFd descriptor) {
    const Lock lock(mutex_);
    held_[{node, owner}] = std::make_shared<const UniqueFd>(std::move(descriptor));
}

namespace {

// How often a lock that somebody else holds is asked for again. Waiting in fcntl(2) itself would
// hold up a thread that nothing but a signal gets out of it.
constexpr std::chrono::milliseconds kFirstPause{1};
constexpr std::chrono::milliseconds kLongestPause{50};

bool is_busy(Errno error) {
    return error == EAGAIN || error == EACCES;
}

// Answers when `attempt` no longer finds the lock busy or the caller gave up.
template <typename Attempt>
void wait_for_lock(fuse_req_t request, const Attempt& attempt) {
    LockWaiters& waiters = context_of(request).waiters;
    waiters.add([&waiters, request, attempt] {
        auto pause = kFirstPause;
        for (;;) {
            const Result<void> locked = attempt();
            if (locked || !is_busy(locked.error())) return reply_status(request, locked);
            if (fuse_req_interrupted(request) != 0 || !waiters.pause(pause)) {
                return reply_error(request, Errno(EINTR));
            }
            pause = std::min(pause * 2, kLongestPause);
        }
    });
}

template <typename Attempt>
void lock(fuse_req_t request, bool wait, const Attempt& attempt) {
    const Result<void> locked = attempt();
    if (!locked && wait && is_busy(locked.error())) {
        wait_for_lock(request, attempt);
    } else {
        reply_status(request, locked);
    }
}

}  // namespace

void flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        context.locks.drop(node, info->lock_owner);
        fuse_reply_err(request, 0);
    });
}

void getlk(fuse_req_t request, fuse_ino_t node, fuse_file_info* info, struct flock* range) {
    serve(request, [&](Context& context) {
        const auto file = context.united.file(info->fh);
        if (!file) return reply_error(request, Errno(EBADF));
        const auto description =
            context.locks.description(node, info->lock_owner, file->descriptor.get());
        if (!description) return reply_error(request, description.error());
        const auto queried = sys::query_lock((*description)->get(), *range);
        if (!queried) return reply_error(request, queried.error());
        fuse_reply_lock(request, range);
    });
}

void setlk(fuse_req_t request, fuse_ino_t node, fuse_file_info* info, struct flock* range,
           int wait) {
    serve(request, [&](Context& context) {
        const auto file = context.united.file(info->fh);
        if (!file) return reply_error(request, Errno(EBADF));
        const auto description =
            context.locks.description(node, info->lock_owner, file->descriptor.get());
        if (!description) return reply_error(request, description.error());
        lock(request, wait != 0, [held = *description, wanted = *range] {
            struct flock asked = wanted;  // the answer to a query goes there
            return sys::lock_range(held->get(), asked, false);
        });
    });
}

void flock(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info, int operation) {
    serve(request, [&](Context& context) {
        const auto file = context.united.file(info->fh);
        if (!file) return reply_error(request, Errno(EBADF));
        const bool wait = (operation & (LOCK_NB | LOCK_UN)) == 0;
        lock(request, wait, [file, operation] {
            return sys::lock_whole(file->descriptor.get(), operation | LOCK_NB);
        });
    });
}

}  // namespace plyfs::session
