/* Shifts the wall clock of a process by LAB_CLOCK_OFFSET seconds and nothing else.
 *
 * libfaketime 0.9.10 cannot be used: with monotonic clocks left alone, Python's time.sleep fails
 * with EINVAL, and with monotonic clocks shifted, threading.Event.wait never times out.
 *
 * A program that reads the wall clock and waits until a time on it gives the kernel a shifted
 * deadline, so waits with an absolute deadline on the wall clock are shifted back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static long offset;
static int (*real_gettime)(clockid_t, struct timespec *);

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("LAB_CLOCK_OFFSET");
    real_gettime = REAL("clock_gettime", int (*)(clockid_t, struct timespec *));
    offset = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_gettime) real_gettime = REAL("clock_gettime", int (*)(clockid_t, struct timespec *));
    int result = real_gettime(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

/* The deadline on the kernel's wall clock. A deadline on a monotonic clock, which counts from the
 * start of the machine, stays as it is: it is decades before any time of today. */
static const struct timespec *true_deadline(const struct timespec *given, struct timespec *room) {
    if (!given || given->tv_sec < 1000000000L) return given;
    room->tv_sec = given->tv_sec - offset;
    room->tv_nsec = given->tv_nsec;
    return room;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *deadline) {
    struct timespec room;
    return REAL("sem_timedwait", int (*)(sem_t *, const struct timespec *))(
        semaphore, true_deadline(deadline, &room));
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *deadline) {
    struct timespec room;
    return REAL("pthread_mutex_timedlock", int (*)(pthread_mutex_t *, const struct timespec *))(
        mutex, true_deadline(deadline, &room));
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *deadline) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec room;
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real)  /* architectures that have one version of it only */
        real = REAL("pthread_cond_timedwait",
                    int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *));
    return real(condition, mutex, true_deadline(deadline, &room));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left) {
    struct timespec room;
    if (flags & TIMER_ABSTIME) wanted = true_deadline(wanted, &room);
    return REAL("clock_nanosleep",
                int (*)(clockid_t, int, const struct timespec *, struct timespec *))(
        clock, flags, wanted, left);
}

/* Abseil and Rust wait by futexes of their own. */
long syscall(long number, ...) {
    static long (*real)(long, ...);
    struct timespec room;
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (!real) real = REAL("syscall", long (*)(long, ...));
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
        a[3] = (long)true_deadline((const struct timespec *)a[3], &room);
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
