// SPDX-License-Identifier: GPL-2.0-or-later
//
// A file descriptor with one owner, closed with it. Movable, not copyable. Not thread-safe.
#pragma once

#include <unistd.h>

#include <utility>

namespace plyfs {

class UniqueFd {
public:
    UniqueFd() noexcept = default;
    // Takes ownership of `descriptor`; a negative one means none.
    explicit UniqueFd(int descriptor) noexcept : descriptor_(descriptor) {}
    UniqueFd(UniqueFd&& other) noexcept : descriptor_(other.release()) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    int get() const noexcept { return descriptor_; }
    explicit operator bool() const noexcept { return descriptor_ >= 0; }

    // Gives the descriptor away; the caller closes it.
    [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

    // Closes what is owned and takes `descriptor`. Errors of close(2) carry no information about
    // data here: whoever needs it syncs before.
    void reset(int descriptor = -1) noexcept {
        const int old = std::exchange(descriptor_, descriptor);
        if (old >= 0) ::close(old);
    }

private:
    int descriptor_ = -1;
};

}  // namespace plyfs
