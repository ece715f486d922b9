// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/fault.h"

#include <csignal>

namespace plyfs::fault {

std::atomic<bool> armed{false};

namespace {
std::atomic<Action> armed_action{Action::None};
std::atomic<std::uint64_t> target_call{0};
std::atomic<std::uint64_t> calls_made{0};
std::atomic<int> injected_error{0};
}  // namespace

void arm(Action action, std::uint64_t nth, int error) {
    armed_action = action;
    target_call = nth;
    calls_made = 0;
    injected_error = error;
    armed = true;
}

std::uint64_t disarm() {
    armed = false;
    return calls_made;
}

int check_armed() noexcept {
    if (++calls_made != target_call) return 0;
    switch (armed_action.load()) {
        case Action::None: return 0;
        case Action::Error: return injected_error;
        case Action::Kill: std::raise(SIGKILL); return 0;
    }
    return 0;
}

}  // namespace plyfs::fault
