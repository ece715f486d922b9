// SPDX-License-Identifier: GPL-2.0-or-later
//
// The standard mutexes with Clang's thread-safety annotations (-Wthread-safety checks them in the
// `tidy` preset; other compilers see nothing).
#pragma once

#include <mutex>
#include <shared_mutex>

#if defined(__clang__)
#define PLYFS_ANNOTATE(x) __attribute__((x))
#else
#define PLYFS_ANNOTATE(x)
#endif

#define GUARDED_BY(x) PLYFS_ANNOTATE(guarded_by(x))
#define REQUIRES(...) PLYFS_ANNOTATE(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) PLYFS_ANNOTATE(requires_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) PLYFS_ANNOTATE(locks_excluded(__VA_ARGS__))

namespace plyfs {

class PLYFS_ANNOTATE(capability("mutex")) Mutex {
public:
    void lock() PLYFS_ANNOTATE(acquire_capability()) { mutex_.lock(); }
    void unlock() PLYFS_ANNOTATE(release_capability()) { mutex_.unlock(); }

private:
    std::mutex mutex_;
};

class PLYFS_ANNOTATE(capability("mutex")) SharedMutex {
public:
    void lock() PLYFS_ANNOTATE(acquire_capability()) { mutex_.lock(); }
    void unlock() PLYFS_ANNOTATE(release_capability()) { mutex_.unlock(); }
    void lock_shared() PLYFS_ANNOTATE(acquire_shared_capability()) { mutex_.lock_shared(); }
    void unlock_shared() PLYFS_ANNOTATE(release_shared_capability()) { mutex_.unlock_shared(); }

private:
    std::shared_mutex mutex_;
};

// Holds a Mutex or a SharedMutex alone, to the end of the scope.
template <typename M>
class PLYFS_ANNOTATE(scoped_lockable) Lock {
public:
    explicit Lock(M& mutex) PLYFS_ANNOTATE(acquire_capability(mutex)) : mutex_(mutex) {
        mutex_.lock();
    }
    ~Lock() PLYFS_ANNOTATE(release_capability()) { mutex_.unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    M& mutex_;
};

// Holds a SharedMutex together with other readers, to the end of the scope.
class PLYFS_ANNOTATE(scoped_lockable) SharedLock {
public:
    explicit SharedLock(SharedMutex& mutex) PLYFS_ANNOTATE(acquire_shared_capability(mutex))
        : mutex_(mutex) {
        mutex_.lock_shared();
    }
    ~SharedLock() PLYFS_ANNOTATE(release_generic_capability()) { mutex_.unlock_shared(); }
    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;

private:
    SharedMutex& mutex_;
};

}  // namespace plyfs
