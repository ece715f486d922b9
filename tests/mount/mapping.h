// SPDX-License-Identifier: GPL-2.0-or-later
//
// A file mapped into memory, unmapped with its owner.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <string>
#include <utility>

namespace plyfs::test {

class Mapping {
public:
    // From the start of the file. Where it is not valid errno says why.
    Mapping(int file, std::size_t size, int protection, int flags = MAP_SHARED)
        : size_(size), bytes_(::mmap(nullptr, size, protection, flags, file, 0)) {}
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    Mapping(Mapping&& other) noexcept
        : size_(other.size_), bytes_(std::exchange(other.bytes_, MAP_FAILED)) {}
    ~Mapping() {
        if (valid()) ::munmap(bytes_, size_);
    }
    bool valid() const { return bytes_ != MAP_FAILED; }
    char* bytes() const { return static_cast<char*>(bytes_); }
    std::string text() const { return {bytes(), size_}; }

private:
    std::size_t size_;
    void* bytes_;
};

}  // namespace plyfs::test
