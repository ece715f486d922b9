// SPDX-License-Identifier: GPL-2.0-or-later
//
// A Union over plain directories, driven by paths as the kernel would: every path is looked up
// name by name, and every lookup is given back. Nothing is mounted.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/code.h"
#include "core/host_files.h"
#include "core/scratch_file_system.h"
#include "union/union.h"

namespace plyfs::test {

struct BranchSpec {
    BranchMode mode = BranchMode::ReadWrite;
    std::string path{};  // empty: a new directory
    std::uint64_t min_free_space = 0;
};

inline const BranchSpec kRw{};
inline const BranchSpec kNc{BranchMode::NoCreate};
inline const BranchSpec kRo{BranchMode::ReadOnly};

struct Listed {
    std::string name;
    std::uint64_t inode = 0;
    unsigned char type = 0;
    std::uint64_t next = 0;
};

// Policies `create`, `search`, `action`; the defaults put everything on the first branch.
config::PolicyOptions policies(config::Policy create = config::Policy::Ff,
                               config::Policy search = config::Policy::Ff,
                               config::Policy action = config::Policy::EpAll);

class DrivenUnion {
public:
    // Skips the test where it does not run as root.
    explicit DrivenUnion(const std::vector<BranchSpec>& branches,
                         config::PolicyOptions chosen = policies(),
                         std::size_t open_directories = 64);
    // Checks that nothing is left once all is forgotten.
    ~DrivenUnion();
    DrivenUnion(const DrivenUnion&) = delete;
    DrivenUnion& operator=(const DrivenUnion&) = delete;

    Union& verbs() { return *union_; }
    // Ends the union and makes another one of the same branches.
    void remount();
    // The same with other options than the defaults, from now on.
    void remount(std::function<void(UnionOptions&)> adjust);
    // On the machine: `path` of a branch.
    std::string host(std::size_t branch, const std::string& path = "") const;

    // Looks `path` up ("" is the root); the lookups are remembered until forget_all().
    Result<Entry> look(std::string_view path);
    void forget_all();
    UnionCounts counts() const { return union_->counts(); }

    // Verbs by path. Errno or 0.
    int mkdir(const std::string& path, mode_t mode = 0755);
    int mknod(const std::string& path, mode_t mode, dev_t device = 0);
    int symlink(const std::string& target, const std::string& path);
    int link(const std::string& path, const std::string& new_path);
    int unlink(const std::string& path);
    int rmdir(const std::string& path);
    int rename(const std::string& path, const std::string& new_path, unsigned flags = 0);
    int chmod(const std::string& path, mode_t mode);
    int change(const std::string& path, const AttributeChange& change);
    int set_xattr(const std::string& path, const std::string& name, std::string_view value,
                  int flags = 0);
    int remove_xattr(const std::string& path, const std::string& name);
    // Makes the file, or truncates it, and writes.
    int write(const std::string& path, std::string_view bytes, mode_t mode = 0644);

    Result<Attributes> stat(const std::string& path);
    Result<std::string> read(const std::string& path);
    Result<std::string> read_link(const std::string& path);
    Result<std::string> xattr(const std::string& path, const std::string& name);
    Result<std::vector<std::string>> xattrs(const std::string& path);
    // Without "." and "..".
    Result<std::vector<Listed>> list(const std::string& path);
    std::vector<std::string> names(const std::string& path);  // sorted

    // What is kept open.
    Result<OpenedFile> open(const std::string& path, int flags);
    Result<CreatedFile> create(const std::string& path, int flags = O_RDWR, mode_t mode = 0644);
    Result<CreatedFile> tmpfile(const std::string& directory, int flags = O_RDWR,
                                mode_t mode = 0600);
    // All from `offset` on, with "." and "..".
    Result<std::vector<Listed>> read_directory(HandleId handle, std::uint64_t offset = 0);

    Request request() { return {caller, journal_}; }
    // Remembers a lookup that a verb has counted.
    void remember(NodeId node) { ++remembered_[node]; }

    sys::Caller caller;
    std::vector<std::string> warnings;

private:
    // The parent's node and the last name of `path`, which must outlive it.
    struct Target {
        NodeId parent;
        Name name;
    };
    Result<Target> target(const std::string& path);
    int made(const Result<Entry>& entry);

    std::unique_ptr<Union> make_union();

    std::vector<BranchSpec> specs_;
    std::vector<std::unique_ptr<ScratchDirectory>> directories_;
    config::PolicyOptions policies_;
    std::size_t open_directories_;
    std::function<void(UnionOptions&)> adjust_;
    NullJournal journal_;
    std::map<NodeId, std::uint64_t> remembered_;
    std::unique_ptr<Union> union_;
};

// What an open file holds.
std::string contents(const OpenedFile& file);

}  // namespace plyfs::test
