// SPDX-License-Identifier: GPL-2.0-or-later
//
// Restarts the daemon of a mount again and again, beside a test that knows nothing of it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>
#include <thread>

namespace plyfs::test {

class Restarter {
public:
    // `program restart mountpoint`, from now on. `daemon` is a child of this process.
    Restarter(std::string program, std::string mountpoint, pid_t daemon);
    ~Restarter() { stop(); }
    Restarter(const Restarter&) = delete;
    Restarter& operator=(const Restarter&) = delete;

    // Returns the daemon; those before it have ended. 0: one of them did not end well.
    pid_t stop();

private:
    void run();
    bool restart();

    const std::string program_;
    const std::string mountpoint_;
    std::atomic<pid_t> daemon_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace plyfs::test
