// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/restarts.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace plyfs::session {

Restarts::Restarts() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Restarts::ask() {
    const std::uint64_t one = 1;
    if (::write(event_.get(), &one, sizeof one) != sizeof one) std::abort();
}

void Restarts::answered() {
    std::uint64_t count = 0;
    if (::read(event_.get(), &count, sizeof count) != sizeof count) count = 0;
}

Restarts::Status Restarts::status() const {
    const Lock lock(mutex_);
    return status_;
}

void Restarts::set_done(std::uint64_t done) {
    const Lock lock(mutex_);
    status_.done = done;
}

void Restarts::set_failed(std::string reason) {
    const Lock lock(mutex_);
    ++status_.failed;
    status_.reason = std::move(reason);
}

}  // namespace plyfs::session
