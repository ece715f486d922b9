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
    const std::uint64_t call = ++calls_made;
    const Action action = armed_action;
    if (action == Action::Dead && call >= target_call) return injected_error;
    if (call != target_call) return 0;
    switch (action) {
        case Action::None:
        case Action::Dead: return 0;
        case Action::Error: return injected_error;
        case Action::Kill: std::raise(SIGKILL); return 0;
    }
    return 0;
}

}  // namespace plyfs::fault
