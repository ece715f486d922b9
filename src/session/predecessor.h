// SPDX-License-Identifier: GPL-2.0-or-later
//
// A successor's side of a restart: the daemon whose mount it is to go on with.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "session/handover_channel.h"
#include "session/saved_records.h"
#include "sys/unique_fd.h"
#include "union/branch.h"

namespace plyfs::session {

class Predecessor {
public:
    // `channel` is the descriptor that the daemon has left open. What is wrong, otherwise: nobody
    // hands anything over there, or in a form that is not known here, which the daemon was told.
    static std::expected<Predecessor, std::string> meet(int channel);

    // The YAML file that describes the mount, and what can't be said in it.
    const std::string& configuration() const noexcept { return configuration_; }
    bool foreground() const noexcept { return foreground_; }
    bool debug() const noexcept { return debug_; }
    // Has `branches` use the directories that the daemon has open, so that all that it made is on
    // the same mounts. What is wrong, otherwise: they are others.
    std::expected<void, std::string> share(const BranchSet& branches);

    // Tells it what is wrong. It goes on by itself.
    void refuse(std::string_view reason) const;

    struct State {
        UniqueFd records;
        UniqueFd device;
        TakenDescriptors descriptors;
    };
    // Tells it that all is ready, and waits for what it hands over. It serves no more then.
    Result<State> take() const;
    // Everything was taken. Returns when the daemon has let go, or has ended. False: it goes on.
    bool confirm() const;

private:
    explicit Predecessor(HandoverChannel channel) : channel_(std::move(channel)) {}

    HandoverChannel channel_;
    std::string configuration_;
    bool foreground_ = false;
    bool debug_ = false;
    std::vector<UniqueFd> roots_;  // of its branches
};

}  // namespace plyfs::session
