/* Links the library into a program and runs it: the exit code is that of mqtt_no_std. */
int mqtt_no_std(void);

/* Named by the tables of the prebuilt core and alloc, and never called: panics abort. */
void rust_eh_personality(void) {}

int main(void) {
    return mqtt_no_std();
}
