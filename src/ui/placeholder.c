/* placeholder until the folder has its first module */
extern int ui_placeholder_;
int ui_placeholder_;
