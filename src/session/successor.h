// SPDX-License-Identifier: GPL-2.0-or-later
//
// A daemon's side of a restart: the process that is to go on with the mount, from the same program
// file, which may be another version by now. Until commit() has sent the last word the daemon can
// go on itself; what the successor was given is closed with it then.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"
#include "session/handover_channel.h"
#include "sys/unique_fd.h"
#include "union/branch.h"

namespace plyfs::session {

// How long one of the two may keep the other waiting: the successor opens the branches.
inline constexpr std::chrono::seconds kHandoverPatience{30};

class Successor {
public:
    // Starts it. What is wrong, otherwise.
    static std::expected<Successor, std::string> start();
    // Ends it, unless it was committed.
    ~Successor() { end(); }
    void end();
    Successor(Successor&& other) noexcept;
    Successor& operator=(Successor&&) = delete;

    // Tells it of the mount, whose configuration is `text` (config::dump); returns when it has
    // opened the branches and found them to be these. What it says is wrong, otherwise.
    std::expected<void, std::string> prepare(const config::Options& options,
                                             const std::string& text, const BranchSet& branches);
    // Hands it the state (saved_records.h), the descriptors named there and the device, while
    // nobody serves; returns when it could go on at once.
    std::expected<void, std::string> give(int records, int device,
                                          const std::vector<int>& descriptors);
    // It goes on. Returns its process id. What is wrong, otherwise: it has ended.
    std::expected<pid_t, std::string> commit();

private:
    Successor(HandoverChannel channel, pid_t process)
        : channel_(std::move(channel)), process_(process) {}
    std::expected<void, std::string> wait_for(std::string_view word);
    std::expected<void, std::string> give_descriptors(const std::vector<int>& descriptors,
                                                      std::string_view word);

    HandoverChannel channel_;
    pid_t process_;         // 0: not to be ended
    bool refused_ = false;  // it ends by itself
};

}  // namespace plyfs::session
