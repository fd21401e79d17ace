/* placeholder until the folder has its first module */
extern int sys_placeholder_;
int sys_placeholder_;
