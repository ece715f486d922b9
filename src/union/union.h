// SPDX-License-Identifier: GPL-2.0-or-later
//
// The union: every verb of the file system on nodes, names and handles, independent of FUSE. Verbs
// return by value, so that no lock can be held while a reply is sent. All are thread-safe.
//
// Lock order, outermost first:
//   1. rename_mutex_         renames between two directories, one at a time
//   2. Node::mutex           a parent before its child; two parents only under 1, the upper one
//                            first; below the parents one directory at most, or files by id: so
//                            whoever waits in a circle would wait for something above itself
//   3. moves_                shared while a directory is reached by its route, alone while a
//                            directory gets another route
//   4. leaf locks            tables, caches, a node's open files; nothing is taken under them
// No lock is held across a notification to the kernel, a TBB call or the copying of data.
//
// Errnos beside those of the branch's file system: ESTALE, the node is not known or the object is
// not there any more (the VFS looks the path up once more then); EROFS, the object is on read-only
// branches only; EPERM, the name is one that the union hides.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/options.h"
#include "sys/file_system_space.h"
#include "union/branch.h"
#include "union/directory_cache.h"
#include "union/handle_table.h"
#include "union/inode_number.h"
#include "union/merged_directory.h"
#include "union/node_table.h"
#include "union/plan.h"
#include "union/policy.h"
#include "union/verb_values.h"

namespace plyfs {

struct UnionOptions {
    config::PolicyOptions policies;
    std::size_t open_directories = 1024;  // descriptors kept for speed
    bool xattrs = true;
    // Told, a line at a time, what an administrator should know. May be empty.
    std::function<void(std::string_view)> warn;
};

class Union {
public:
    // `branches` is not empty.
    Union(BranchSet branches, UnionOptions options);
    ~Union();

    const BranchSet& branches() const noexcept { return branches_; }
    UnionCounts counts() const;

    // Names and nodes.
    // ENOENT: no branch has it.
    Result<Entry> lookup(NodeId parent, Name name);
    void forget(NodeId node, std::uint64_t count);
    // `handle` 0: none.
    Result<Attributes> getattr(NodeId node, HandleId handle = 0);
    Result<Attributes> setattr(const Request& request, NodeId node, const AttributeChange& change,
                               HandleId handle = 0);
    Result<std::string> readlink(NodeId node);

    // Making. The policy's branches are tried in turn on ENOSPC, EDQUOT and EROFS.
    Result<Entry> mknod(const Request& request, NodeId parent, Name name, mode_t mode,
                        dev_t device);
    Result<Entry> mkdir(const Request& request, NodeId parent, Name name, mode_t mode);
    Result<Entry> symlink(const Request& request, NodeId parent, Name name, const char* target);
    Result<Entry> link(const Request& request, NodeId node, NodeId new_parent, Name new_name);
    Result<CreatedFile> create(const Request& request, NodeId parent, Name name, mode_t mode,
                               int flags);
    Result<CreatedFile> tmpfile(const Request& request, NodeId parent, mode_t mode, int flags);

    // Removing and renaming. `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; others EINVAL.
    Result<void> unlink(const Request& request, NodeId parent, Name name);
    Result<void> rmdir(const Request& request, NodeId parent, Name name);
    Result<void> rename(const Request& request, NodeId parent, Name name, NodeId new_parent,
                        Name new_name, unsigned flags);

    // Files. A handle is released once, whatever was answered in between.
    // `drop_set_id`: with O_TRUNC, as in AttributeChange.
    Result<OpenedFile> open(const Request& request, NodeId node, int flags, bool drop_set_id);
    std::shared_ptr<const FileHandle> file(HandleId handle) const { return files_.find(handle); }
    void release(HandleId handle) { files_.remove(handle); }

    // Directories.
    Result<HandleId> opendir(NodeId node);
    // Calls visit(entry) for the names from `offset` on until it returns false. Offset 0 takes a
    // new snapshot unless nothing was read yet.
    Result<void> readdir(HandleId handle, std::uint64_t offset,
                         const std::function<bool(const DirectoryEntry&)>& visit);
    void releasedir(HandleId handle) { directories_.remove(handle); }
    Result<void> fsyncdir(NodeId node, bool data_only);

    // Extended attributes. Empty spans ask for sizes. ENOTSUP: turned off.
    Result<std::size_t> getxattr(NodeId node, const char* name, std::span<std::byte> value);
    Result<std::size_t> listxattr(NodeId node, std::span<std::byte> names);
    // `keep_set_id`: the caller may keep SGID when an ACL is set.
    Result<void> setxattr(const Request& request, NodeId node, const char* name,
                          std::span<const std::byte> value, int flags, bool keep_set_id);
    Result<void> removexattr(const Request& request, NodeId node, const char* name);

    // Calls `command(descriptor)` on the directory opened for reading: on the first branch, or, if
    // it changes something, on all that the action policy (for chmod) chooses.
    Result<void> directory_ioctl(NodeId node, bool changes,
                                 const std::function<Result<void>(int)>& command);

    FileSystemSpace statfs();

private:
    // One branch's object of a name, as found.
    struct Hit {
        BranchIndex branch;
        DirectoryRef parent;
        Attributes attributes;
    };
    // All of a name. Copies of directories are made on further branches meanwhile without the lock
    // of their parent, so what they were found as is dated.
    struct Hits : boost::container::small_vector<Hit, 4> {
        std::uint64_t dated = 0;  // NodeTable::copies_made() before looking
        Stack unseen;             // branches that failed: the name may be there
    };

    // ---- finding (lookup.cpp) ----
    // That is what a branch answers where a directory, or one above it, is not there.
    static bool is_absent(Errno error) { return error == ENOENT || error == ENOTDIR; }
    // ESTALE: unknown. ENOTDIR: not a directory.
    Result<NodeRef> node(NodeId id) const;
    Result<NodeRef> directory(NodeId id) const;
    bool hidden(const Node& parent, Name name) const;
    // All that the branches of `parent` have under `name`; none is no error. What the union shows
    // (the search policy's choice for getattr) comes first, the others in precedence.
    // Scope::Shown: no more than it takes to know that; an error of one branch is returned only if
    // no other has the name. Scope::All: to change them, so that every branch must answer.
    enum class Scope : std::uint8_t { Shown, All };
    // The policy shows what the first branch has: there is no need to look at the others.
    static bool in_order(config::Policy policy);
    Result<Hits> find(const Node& parent, Name name, Scope scope) const;
    void show_first(Hits& hits, config::Policy policy) const;
    // The node of what `hits` show. Needs the lock of `parent`.
    NodeRef intern(const NodeRef& parent, Name name, const Hits& hits);
    // The attributes of a directory that stands in several branches: those of the first, with the
    // latest times; the inode number is of the eldest copy, since copies made later, on other
    // branches, are younger, so that making them changes no number.
    static Attributes merge(std::span<const Attributes> attributes);
    Result<Attributes> directory_attributes(const Node& node) const;
    Result<Attributes> object_attributes(const Node& node) const;
    Result<std::uint64_t> inode_of(const Attributes& attributes, int descriptor) const;
    // The same for what was found as `name` on a branch.
    Result<std::uint64_t> inode_of(const Attributes& attributes, Name name, int parent,
                                   BranchIndex branch) const;
    // What the union shows of `hits` under `name`, which are not empty.
    Result<Attributes> shown_attributes(const Hits& hits, Name name) const;
    // Hands `node` out.
    Result<Entry> entry(const NodeRef& node, const Hits& hits, Name name);
    // The hits of directories among `hits` are where `node` stands: nobody has made a copy since.
    bool complete(const Node& node, const Hits& hits) const;

    // ---- reaching (reach.cpp) ----
    // The directory of `node` on `branch`. ENOENT, ENOTDIR: it is not there. Takes moves_.
    Result<DirectoryRef> open_directory(const Node& node, BranchIndex branch) const;
    // The same with moves_ held by the caller.
    Result<DirectoryRef> open_directory_unmoved(const Node& node, BranchIndex branch) const
        REQUIRES_SHARED(moves_);
    // The object itself, on the branch that was chosen for it, verified to be the one that the
    // node is: O_PATH or opened. Needs the lock of `node`, at least shared. ESTALE: it is gone.
    Result<UniqueFd> open_object(const Node& node, int flags) const;
    Result<UniqueFd> open_shown(const Node& node) const;
    // One descriptor for each branch that has a copy of `node`, chosen by the action policy, the
    // one that the union shows first if it is among them. Needs the lock of `node`. EROFS, ESTALE.
    Result<std::vector<UniqueFd>> open_copies(const Node& node, config::Function function) const;
    Result<std::vector<UniqueFd>> open_directory_copies(const Node& node,
                                                        config::Function function) const;

    // ---- making (create.cpp, parents.cpp) ----
    // None: the branch can't be asked.
    std::optional<BranchFacts> facts(BranchIndex branch, bool exists,
                                     Timestamp modification_time) const;
    // Of all: no copy must be left out of what is changed. EIO: a branch can't be asked.
    Result<std::vector<BranchFacts>> facts(const Hits& hits) const;
    Result<CreateChoice> choose_targets(const Node& parent, config::Function function) const;
    // The directory of `node` on `branch`, made there with its parents if it lacks them, with the
    // owner, mode, times and extended attributes of the one seen. Takes moves_.
    Result<DirectoryRef> ensure_directory(const NodeRef& node, BranchIndex branch);
    Result<DirectoryRef> clone_directory(const NodeRef& node, const RouteStep& step,
                                         int branch_parent, BranchIndex branch)
        REQUIRES_SHARED(moves_);
    // Makes an object by `make(directory, name)` on the branches that the policy chooses and
    // hands it out. Needs the lock of `parent`, alone.
    using Make = std::function<Result<void>(int directory)>;
    Result<Entry> make_object(const Request& request, const NodeRef& parent, Name name,
                              config::Function function, const Make& make);
    // EEXIST: a branch has the name. EPERM: it is hidden.
    Result<void> check_absent(const Node& parent, Name name) const;
    // Tries `make_on(branch, directory)` on each candidate until one does not lack room.
    template <typename MakeOn>
    auto make_on_first(const NodeRef& parent, const BranchList& candidates, MakeOn&& make_on)
        -> decltype(make_on(BranchIndex{}, 0));
    // A regular file just made, not in the table of nodes yet.
    struct MadeFile {
        UniqueFd descriptor;
        Attributes attributes;
        BranchIndex branch;
    };
    // Makes one by `open_in(directory)`, with the caller's ids, where the policy for create wants
    // it. Needs the lock of `parent`, alone.
    template <typename OpenIn>
    Result<MadeFile> make_file(const Request& request, const NodeRef& parent, OpenIn&& open_in);
    CreatedFile hand_out(MadeFile made, const NodeRef& node, int flags);
    // What is kept open of `node` and the directories above it on `branch` is closed.
    void drop_route(const Node& node, BranchIndex branch);
    OpenedFile opened(FileHandle handle);
    // What open(2) on a branch is given of the flags of an open.
    static int open_file_flags(int flags);

    // ---- reading directories (readdir.cpp) ----
    Result<std::shared_ptr<const MergedDirectory>> take_snapshot(const Node& node) const;
    struct ListedObject {
        std::uint64_t inode;
        unsigned char type;  // DT_*
    };
    Result<ListedObject> listed_object(const Node& directory, const MergedDirectory& names,
                                       const MergedDirectory::Entry& entry) const;
    // st_ino of "." and "..".
    std::uint64_t own_inode(const Node& directory) const;
    std::uint64_t parent_inode(const Node& directory) const;

    // ---- removing (remove.cpp, rename.cpp) ----
    struct RenameSide;
    std::vector<PlanBranch> plan_branches() const;
    Result<void> execute_plan(const Request& request, const Plan& plan) const;
    // The path of `directory` from a branch's root. ENOENT: it was removed.
    Result<std::string> path_on_branch(const Node& directory) const;
    // Those of `hits` that the action policy chooses, in precedence. EROFS.
    Result<Hits> chosen_hits(const Hits& hits, config::Function function) const;
    // What unlink (or rmdir) of the name is about. ENOENT, EISDIR, ENOTDIR, EROFS.
    Result<Hits> removable(const Node& parent, Name name, bool directories) const;
    // False: a copy of the directory was made meanwhile, look again.
    Result<bool> remove_directory(const Request& request, const NodeRef& parent, Name name);
    Result<void> remove_hits(const Request& request, const Node& parent, Name name,
                             const Hits& hits);
    // A descriptor for `node`, null where it keeps another name.
    std::shared_ptr<UniqueFd> hold_last_name(const NodeRef& node, const Hit& shown,
                                             Name name) const;
    Result<bool> is_empty_directory(const Node& node, const Hits& hits) const;
    // The directory no longer stands on the branches of `removed`.
    void forget_directory(const NodeRef& node, const Hits& removed);
    Result<void> find_side(RenameSide& side);
    // False: nothing is to be done.
    Result<bool> check_rename(const RenameSide& from, const RenameSide& to, unsigned flags) const;
    Result<Place> plan_place(RenameSide& side, BranchIndex branch, const std::string& path);
    Result<Plan> plan_rename(RenameSide& from, RenameSide& to, unsigned flags);
    void publish_rename(const RenameSide& from, const RenameSide& to, unsigned flags,
                        std::shared_ptr<UniqueFd> held);
    // Each with the locks of both parents; rename_locked with those of both nodes too, and false
    // where a copy of one of the directories was made meanwhile: look again.
    Result<void> rename_between(const Request& request, RenameSide& from, RenameSide& to,
                                unsigned flags);
    Result<bool> rename_locked(const Request& request, RenameSide& from, RenameSide& to,
                               unsigned flags);
    Result<void> run_rename(const Request& request, const Plan& plan, RenameSide& from,
                            RenameSide& to, unsigned flags);

    const BranchSet branches_;
    const UnionOptions options_;
    mutable NodeTable nodes_;
    mutable DirectoryCache cache_;
    mutable FileSystemTags tags_;
    HandleTable<FileHandle> files_;
    HandleTable<DirectoryHandle> directories_;
    Mutex rename_mutex_;
    mutable SharedMutex moves_;
};

}  // namespace plyfs
