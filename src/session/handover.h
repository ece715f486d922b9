// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a daemon that is asked to restart hands its mount to a successor: the process is started and
// has opened the branches before serving stops; then the state is written down and given to it, and
// it either goes on or has ended, and the daemon goes on itself. Used by the thread that holds the
// device loop.
#pragma once

#include <sys/types.h>

#include <expected>
#include <functional>
#include <string>
#include <utility>

#include "session/context.h"
#include "session/device_loop.h"
#include "session/init.h"
#include "session/successor.h"
#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::session {

// What is handed over, beside what the context leads to. All are borrowed.
struct Served {
    const Context& context;
    const std::string& text;  // the configuration (config::dump)
    const InitAnswer& init;
    unsigned connection;  // in /sys/fs/fuse/connections
};

class Handover {
public:
    // `is_ending()`: the mount is to be unmounted, or a signal that says so is there to be read.
    Handover(const Served& served, std::function<bool()> is_ending)
        : served_(served), is_ending_(std::move(is_ending)) {}

    // The successor's process id: it serves, and nobody does so here any more. Otherwise why not,
    // in words for the administrator: requests are served as before. Takes some seconds at most
    // where something is in the way (20 s for copies that are being made), plus what the successor
    // needs (kHandoverPatience for each step).
    std::expected<pid_t, std::string> run(DeviceLoop& loop);

private:
    std::expected<void, std::string> check_possible() const;
    std::expected<void, std::string> wait_for_copies() const;
    std::expected<pid_t, std::string> run(DeviceLoop& loop, Successor& successor);
    // While nobody serves.
    std::expected<pid_t, std::string> give(Successor& successor);
    Result<UniqueFd> save(GivenDescriptors& descriptors) const;

    const Served served_;
    const std::function<bool()> is_ending_;
};

}  // namespace plyfs::session
